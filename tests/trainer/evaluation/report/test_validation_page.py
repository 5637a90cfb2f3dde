import json

import pytest

from tests.trainer.evaluation.report.test_html_page import marked
from trainer.evaluation.report.json_record import to_json
from trainer.evaluation.report.validation_page import main, to_page
from trainer.evaluation.run.evaluate import evaluate
from trainer.evaluation.run.patients import PatientCase


@pytest.fixture(scope="module")
def record():
    def method(subject):
        patient = subject.patient
        return {"toy 1.0": marked(patient, int(patient[1]), tumour=patient != "p2")}

    subjects = [PatientCase(f"p{index}", None) for index in range(3)]
    about = {"Compared with": "phantoms"}
    return json.loads(to_json(evaluate(subjects, [method], about=about)))


def test_every_figure_of_the_record_stands_on_the_page(record):
    page = to_page({"phantoms": record})
    figures = record["methods"]["toy 1.0"]
    pooled = figures["pooled_dice"]["liver"]
    stated = f"{pooled['value']:.3f} ({pooled['low']:.3f} to {pooled['high']:.3f})"
    assert f"| liver | Dice, pooled | {stated} | 3 |" in page
    for patient, scores in figures["per_patient"].items():
        assert f"| {patient} | {scores['liver']['dice']:.3f} |" in page
    for size in figures["lesions"]["sizes"]:
        assert f"| {size['size']} | {size['lesions']} | {size['found']} |" in page
    assert "| liver | HD95 mm |" in page
    assert "| liver | error ml |" in page
    assert "- Compared with: phantoms\n" in page


def test_tables_are_well_formed(record):
    rows = [line for line in to_page({"phantoms": record}).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} <= {4, 5}


def test_sections_are_named_by_their_files(record, tmp_path, capsys):
    for name in ("held-out", "chaos3"):
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    main([str(tmp_path / "held-out.json"), str(tmp_path / "chaos3.json")])
    page = capsys.readouterr().out
    assert page.index("## held-out") < page.index("## chaos3")


def test_notes_title_a_section_and_state_what_figures_cannot_tell(record, tmp_path, capsys):
    (tmp_path / "chaos3.json").write_text(json.dumps(record))
    notes = tmp_path / "notes.toml"
    notes.write_text('[chaos3]\ntitle = "CHAOS, set 3"\nfacts = ["Philips.", "Not blind."]\n')
    main(["--notes", str(notes), str(tmp_path / "chaos3.json")])
    page = capsys.readouterr().out
    assert "## CHAOS, set 3\n\n- Philips.\n- Not blind.\n- Compared with: phantoms\n" in page


def test_a_patient_whose_liver_was_not_drawn_has_no_figure_of_it(record):
    some = json.loads(json.dumps(record))
    patient, scores = next(iter(some["methods"]["toy 1.0"]["per_patient"].items()))
    del scores["liver"]
    (row,) = (line for line in to_page({"a": some}).splitlines() if line.startswith(f"| {patient}"))
    assert row.startswith(f"| {patient} |  | ")
