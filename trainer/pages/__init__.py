"""Pages that stand alone: HTML with its style and its pictures in one file."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **content: Any) -> str:
    """Return a template of this folder as a page.

    Whatever is put in is text, not HTML.
    """
    pages = Environment(
        loader=PackageLoader("trainer", "pages"),
        autoescape=True,
        # A misspelt name in a template raises, in place of a gap in a report.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template(template).render(**content)
