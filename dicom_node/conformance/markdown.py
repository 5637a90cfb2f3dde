"""Tables as Markdown has them."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; a cell's line breaks and bars are made harmless."""
    lines = [_line(header), _line(["---"] * len(header)), *map(_line, rows)]
    return "\n".join(lines)


def code(text: object) -> str:
    """Return text as it is typed; nothing where there is none."""
    return f"`{text}`" if str(text) else ""


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(_cell(each) for each in cells)} |"


def _cell(content: object) -> str:
    return " ".join(str(content).split()).replace("|", "\\|")
