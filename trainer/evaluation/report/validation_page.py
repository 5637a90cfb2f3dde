"""The page of validation figures, from the JSON files that `hepar evaluate --json` writes.

    hepar evaluate --data DATA --model MODEL --json held-out.json
    python -m trainer.evaluation.report.validation_page held-out.json > docs/validation.md

Each file becomes a section, titled by its name.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]

HEAD = """# Validation

Written from the figures of `hepar evaluate` by
`python -m trainer.evaluation.report.validation_page`; each section is one evaluation. Intervals are
95 % bootstrap intervals over patients. A figure that rests on one patient has none.
"""

METRICS = {
    "dice": "Dice",
    "nsd": "surface Dice",
    "hd95_mm": "HD95 mm",
    "volume_error_ml": "error ml",
}
"""By `Metric.key`; others stand under their key."""


def to_page(records: Mapping[str, Record]) -> str:
    """Return the page as Markdown.

    Args:
        records: title of each section to what its JSON file holds.
    """
    sections = [HEAD]
    for title, record in records.items():
        sections.append(f"## {title}\n\n{_about(record['about'])}")
        for name, method in record["methods"].items():
            sections += [f"### {name}\n", _figures(method), *_lesions(method), _patients(method)]
    return "\n".join(sections)


def _about(about: Mapping[str, str]) -> str:
    return "".join(f"- {what}: {text}\n" for what, text in about.items())


def _figures(method: Record) -> str:
    rows = []
    for structure, pooled in method["pooled_dice"].items():
        rows.append((structure, "Dice, pooled", _interval(pooled), str(pooled["patients"])))
        for metric, spread in method["mean"].get(structure, {}).items():
            if spread["value"] is not None:
                name = METRICS.get(metric, metric)
                rows.append((structure, name, _interval(spread), str(spread["patients"])))
    return _table(("", "figure", "mean (95 % interval)", "patients"), rows)


def _lesions(method: Record) -> Iterator[str]:
    lesions = method["lesions"]
    if lesions is None:
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
        tumour = scores.get("tumour", {}).get("dice") if scores.get("lesions") else None
        rows.append((patient, _number(scores["liver"]["dice"]), _number(tumour)))
    return _table(("patient", "liver Dice", "tumour Dice"), rows)


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


def main(files: Sequence[str]) -> None:
    """Print the page of the named JSON files."""
    records = {Path(file).stem: json.loads(Path(file).read_text()) for file in files}
    sys.stdout.write(to_page(records))


if __name__ == "__main__":
    main(sys.argv[1:])
