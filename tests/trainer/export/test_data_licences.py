from pathlib import Path

from trainer.datasets.layouts.found import Found
from trainer.export.data_licences import KNOWN, licence_of, sources_of


def test_slices_of_the_decathlon_and_of_lits_are_to_be_shared_alike(data_folder):
    data = sources_of(data_folder)
    assert [each.licence for each in data] == ["CC BY-SA 4.0"] * 2
    assert "ShareAlike" in licence_of(data)


def test_data_that_may_not_be_sold_is_never_said_to_be_free(tmp_path, monkeypatch):
    found = [Found("CHAOS", "1", Path(), lambda: None), Found("CT with SEG", "2", Path(), None)]
    monkeypatch.setattr("trainer.export.data_licences.find_cases", lambda _: found)
    data = sources_of(tmp_path)
    assert KNOWN["CHAOS"] in data
    assert {each.licence for each in data} == {"CC BY-NC-SA 4.0", "not stated"}
    assert "licensed under" not in licence_of(data)
