"""The button in Orthanc's own web page."""

from pathlib import Path


def page_script() -> str:
    """Return the JavaScript that Orthanc Explorer runs."""
    return Path(__file__).with_name("explorer.js").read_text(encoding="utf-8")
