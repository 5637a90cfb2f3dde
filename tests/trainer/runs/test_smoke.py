"""Trial of the whole path."""

from trainer.runs.smoke import empty
from trainer.training.resume.begun import BEGUN


def test_only_a_folder_that_a_run_was_begun_in_is_emptied(tmp_path):
    mine, run = tmp_path / "mine", tmp_path / "run"
    for folder in (mine, run):
        folder.mkdir()
        (folder / "notes.txt").write_text("kept")
    (run / BEGUN).write_text("{}")
    for folder in (mine, run, tmp_path / "none"):
        empty(folder)
    assert (mine / "notes.txt").read_text() == "kept"
    assert not run.exists()
