"""One page with the findings of one series, for readers without a viewer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib.metadata import version

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import PersonName

from dicom_node.attributes import unconverted_copy
from dicom_node.results.attributes.model_run import ModelRun, local_time
from engine.findings.certainty import Certainty, Probability, VolumeInterval
from engine.findings.measure import Measurements
from engine.findings.quality import Quality
from engine.findings.summary import LesionSummary, Summary, summarize
from engine.volume import Geometry, LabelMap

RESEARCH_ONLY = "For research only, not for diagnosis. Generated automatically, not reviewed."
HEADER = ("No.", "Position", "Volume ml", "Diameters mm", "Mean HU", "Slice")
PROBABILITY = "Probability"
"""Title of a further column, where any lesion has one."""
SHOWN = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyDescription",
    "AccessionNumber",
    "SeriesNumber",
    "SeriesDescription",
)
"""Attributes of the source on the page."""
UNCHECKED = "The model does not state what it learnt from, so the scan was not compared with that."
MOST_LESIONS = 14
"""Rows of the table: more leave no room for the picture on one page."""


@dataclass(frozen=True)
class Page:
    """Texts of the page, in the order in which they stand on it."""

    title: str
    facts: tuple[tuple[str, str], ...]
    """Label and value of patient, study, source and findings."""
    lesions: tuple[tuple[str, ...], ...]
    """Rows of the table under `header`, the largest lesion first."""
    more: str
    """Sentence on lesions that are not in the table; empty where all are."""
    review: tuple[str, ...]
    """Sentences on the quality of the result and its sources."""
    made_by: str
    """Model, version, device."""
    header: tuple[str, ...] = HEADER
    """Titles of the columns."""


def to_page(
    measured: Measurements,
    quality: Quality,
    label_map: LabelMap,
    sources: Sequence[Dataset],
    *,
    run: ModelRun,
    remarks: Sequence[str] = (),
    certainty: Certainty | None = None,
) -> Page:
    """Return the page on a series; times are not part of it."""
    source, geometry = unconverted_copy(sources[0], SHOWN), label_map.geometry
    found = summarize(measured, label_map, MOST_LESIONS, certainty)
    return Page(
        "Liver and liver tumours in CT",
        (*_subject(source), *_source(source, geometry), *_sizes(measured, certainty)),
        tuple(_row(lesion, found) for lesion in found.lesions),
        f"{found.hidden} smaller lesions are listed in the report." if found.hidden else "",
        (*_review(quality), *found.certainty_notes, *remarks),
        _made_by(run),
        (*HEADER, PROBABILITY) if found.has_probabilities else HEADER,
    )


def made_at(run: ModelRun, source: Dataset) -> str:
    """Return the line that states when the page was made."""
    at: datetime = local_time(run.at, source)
    return f"Made {at:%Y-%m-%d %H:%M}"


def to_html(page: Page, when: str, picture_png: str) -> str:
    """Return the page as one HTML file without references to others.

    Args:
        page: the texts.
        when: line that states when it was made; may be empty.
        picture_png: picture of the contours as base64.
    """
    facts = "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in page.facts)
    head = "".join(f"<th>{escape(each)}</th>" for each in page.header)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in page.lesions
    )
    review = "".join(f"<li>{escape(each)}</li>" for each in page.review)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(page.title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(page.title)}</h1><p class=note>{escape(RESEARCH_ONLY)}</p>"
        f"<table>{facts}</table>"
        f"<h2>Lesions</h2><table class=lesions><tr>{head}</tr>{rows}</table>"
        f"<p>{escape(page.more)}</p>"
        f'<img alt="Contours on slices" src="data:image/png;base64,{picture_png}">'
        f"<h2>Review</h2><ul>{review}</ul>"
        f"<p class=note>{escape(' · '.join(filter(None, (page.made_by, when))))}</p>"
        "</body></html>\n"
    )


STYLE = (
    "body{font:14px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}th,td{text-align:left;padding:.15em 1em .15em 0}"
    ".lesions th,.lesions td{border-bottom:1px solid #ccc}.note{color:#a33}img{max-width:100%}"
)


def _subject(source: Dataset) -> list[tuple[str, str]]:
    name = source.get("PatientName") or ""
    if isinstance(name, MultiValue):  # a backslash in the name, against PS3.5 6.2
        name = "\\".join(map(str, name))
    written = name if isinstance(name, PersonName) else PersonName(name)
    patient = ", ".join(
        filter(
            None,
            (
                _name(written),
                f"ID {source.get('PatientID')}" if source.get("PatientID") else "ID absent",
                f"born {_date(source.get('PatientBirthDate'))}",
                str(source.get("PatientSex") or ""),
            ),
        )
    )
    study = " ".join(
        filter(None, (_date(source.get("StudyDate")), str(source.get("StudyDescription") or "")))
    )
    accession = str(source.get("AccessionNumber") or "")
    return [("Patient", patient), ("Study", f"{study}, accession number {accession or 'absent'}")]


def _name(name: PersonName) -> str:
    """Return family and given name of the first group that is there."""
    groups = [str(group) for group in (name.alphabetic, name.ideographic, name.phonetic)]
    return ", ".join(filter(None, next(filter(None, groups), "name absent").split("^")[:2]))


def _date(value: object) -> str:
    text = str(value or "")
    valid = len(text) == 8 and text.isdigit()
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if valid else text or "(no date)"


def _source(source: Dataset, geometry: Geometry) -> list[tuple[str, str]]:
    named = f"{source.get('SeriesNumber') or ''} {source.get('SeriesDescription') or ''}".strip()
    slices, rows, columns = geometry.spacing
    size = f"{geometry.shape[0]} slices of {rows:.2f} x {columns:.2f} mm, {slices:.2f} mm apart"
    return [("Source series", f"{named or 'without number'}: {size}")]


def _sizes(measured: Measurements, certainty: Certainty | None) -> list[tuple[str, str]]:
    liver, tumour = (certainty.liver, certainty.tumour) if certainty else (None, None)
    burden = f"{measured.burden_percent:.1f} % of the liver"
    return [
        ("Liver with tumours", f"{measured.liver_ml:.1f} ml{_range(liver)}"),
        ("Tumours", f"{measured.tumour_ml:.1f} ml{_range(tumour)}, {burden}"),
        ("Lesions", str(len(measured.lesions))),
    ]


def _range(interval: VolumeInterval | None) -> str:
    return f" ({interval.low_ml:.1f} to {interval.high_ml:.1f})" if interval else ""


def _row(lesion: LesionSummary, found: Summary) -> tuple[str, ...]:
    cells = _figures(lesion, found.slices)
    return (*cells, _chance(lesion.probability)) if found.has_probabilities else cells


def _chance(found: Probability | None) -> str:
    if found is None:
        return "not stated"
    return f"{100 * found.value:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"


def _figures(lesion: LesionSummary, slices: int) -> tuple[str, ...]:
    return (
        str(lesion.number),
        lesion.position,
        f"{lesion.volume_ml:.1f}",
        f"{lesion.longest_mm:.1f} x {lesion.perpendicular_mm:.1f}",
        f"{lesion.mean_hu:.0f}",
        # counted from the foot as under the picture
        f"{lesion.slice_number} of {slices} (z {lesion.z_mm:+.1f} mm)",
    )


def _review(quality: Quality) -> list[str]:
    unchecked = [] if quality.domain_checked else [UNCHECKED]
    if not quality.concerns:
        return ["No check found anything unusual; that does not make the result right.", *unchecked]
    return [*(f"Please review: {reason}." for reason in quality.reasons), *unchecked]


def _made_by(run: ModelRun) -> str:
    model = run.algorithm
    parts = [f"Hepar {version('hepar')}", f"model {model.name} {model.version}"]
    parts += [f"SHA-256 {model.digest[:12]}", f"device {model.device}" if model.device else ""]
    return ", ".join(filter(None, parts))
