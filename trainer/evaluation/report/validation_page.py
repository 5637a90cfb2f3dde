"""The page of validation figures, from the JSON files that `hepar evaluate --json` writes.

    hepar evaluate --data DATA --model MODEL --json held-out.json
    python -m trainer.evaluation.report.validation_page --notes docs/validation.toml held-out.json

Each file becomes a section. The notes have a table for each, by the file's name: `title`, and
`facts` that the figures cannot tell, such as scanner, phase, and what was looked at before.
`make validation` runs every evaluation and writes docs/validation.md.
"""

import json
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill, indent
from typing import Any

Record = Mapping[str, Any]

HEAD = """# Validation

Written from the figures of `hepar evaluate` by `make validation`; each section is one evaluation,
whose facts are in `docs/validation.toml`. Intervals are 95 % bootstrap intervals over patients. A
figure that rests on one patient has none. The liver counts its tumours. A lesion counts as found
when a tenth of it is marked.
"""

WIDTH = 100

METRICS = {
    "dice": "Dice",
    "iou": "IoU",
    "nsd": "surface Dice",
    "hd95_mm": "HD95 mm",
    "volume_error_ml": "error ml",
}
"""By `Metric.key`; others stand under their key."""


def to_page(records: Mapping[str, Record], notes: Mapping[str, Record] = {}) -> str:
    """Return the page as Markdown.

    Args:
        records: name of each section to what its JSON file holds.
        notes: name of a section to its `title` and `facts`, where it has some.
    """
    sections = [HEAD]
    for name, record in records.items():
        note = notes.get(name, {})
        about = [f"{what}: {text}" for what, text in record["about"].items()]
        points = _points([*note.get("facts", ()), *about])
        sections.append(f"## {note.get('title', name)}\n\n{points}")
        for model, method in record["methods"].items():
            sections += [f"### {model}\n", _figures(method), *_lesions(method), _patients(method)]
    return "\n".join(sections)


def _points(said: Sequence[str]) -> str:
    wrapped = (fill(each, WIDTH - 2, break_on_hyphens=False) for each in said)
    return "".join(f"- {indent(each, '  ').strip()}\n" for each in wrapped)


def _figures(method: Record) -> str:
    rows = []
    for structure, pooled in method["pooled_dice"].items():
        if structure not in method["mean"]:  # drawn in nobody
            continue
        rows.append((structure, "Dice, pooled", _interval(pooled), str(pooled["patients"])))
        for metric, spread in method["mean"][structure].items():
            if spread["value"] is not None:
                name = METRICS.get(metric, metric)
                rows.append((structure, name, _interval(spread), str(spread["patients"])))
    return _table(("", "figure", "mean (95 % interval)", "patients"), rows)


def _lesions(method: Record) -> Iterator[str]:
    lesions = method["lesions"]
    if lesions is None or not any(each["lesions"] for each in lesions["sizes"]):
        return
    rows = [
        (each["size"], str(each["lesions"]), str(each["found"]), _interval(each["recall"]))
        for each in lesions["sizes"]
    ]
    rows.append(("precision of the marks", "", "", _interval(lesions["precision"])))
    yield _table(("lesions", "drawn", "found", "recall (95 % interval)"), rows)


def _patients(method: Record) -> str:
    rows = []
    for patient, scores in method["per_patient"].items():
        has_tumour = bool(scores.get("lesions") and scores["lesions"]["drawn"])
        tumour = scores["tumour"]["dice"] if has_tumour else None
        liver = scores.get("liver", {}).get("dice")
        rows.append((patient, _number(liver), _number(tumour), _false_ml(scores)))
    return _table(("patient", "liver Dice", "tumour Dice", "false tumour, ml"), rows)


def _false_ml(scores: Record) -> str:
    """Return the tumour volume marked in a patient without any; nothing where that is unknown."""
    found = scores.get("tumour", {}).get("found_ml")
    return f"{found:.2f}" if found is not None and scores["tumour"]["true_ml"] == 0 else ""


def _interval(estimate: Record) -> str:
    if estimate["low"] is None:
        return _number(estimate["value"])
    low, high = _number(estimate["low"]), _number(estimate["high"])
    return f"{_number(estimate['value'])} ({low} to {high})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: Sequence[str]) -> None:
    """Print the page of the named JSON files."""
    parser = ArgumentParser(description="Write docs/validation.md from figures of hepar evaluate.")
    parser.add_argument("--notes", type=Path, help="TOML file with a title and facts per section")
    parser.add_argument("files", type=Path, nargs="+", help="what hepar evaluate --json wrote")
    named = parser.parse_args(arguments)
    notes = tomllib.loads(named.notes.read_text()) if named.notes else {}
    records = {file.stem: json.loads(file.read_text()) for file in named.files}
    sys.stdout.write(to_page(records, notes))


if __name__ == "__main__":
    main(sys.argv[1:])
