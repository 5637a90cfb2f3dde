"""Headers of the field, as a script beside the project makes them; skipped where that is absent."""

import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.results.phantom import write_series
from dicom_node.results.seg import encode
from dicom_node.series.reading import read_series
from dicom_node.verify.seg import verify_seg
from engine.phantom import make_phantom
from tests.dicom_node.drawing import draw_case
from tests.system.judges import dciodvfy

SCRIPT = Path(__file__).resolve().parents[4] / "shared/cases/results/headers/make.py"
CASES = (
    "pn_differs_in_padding",
    "acquisition_date_impossible",
    "ds_long",
    "hospital",
    "utf8_declared_latin1_bytes",
)


@pytest.mark.skipif(not SCRIPT.exists(), reason="needs ../shared/cases")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_series_with_such_headers_has_a_valid_seg_and_report(name, tmp_path):
    phantom = make_phantom(3, shape=(12, 40, 48), spacing_mm=(20, 9, 8), tumours=1)
    write_series(phantom, "headers", tmp_path / "base")
    command = [sys.executable, SCRIPT, tmp_path / "base", tmp_path / "out", name]
    subprocess.run(command, check=True, capture_output=True)
    case = draw_case(read_series(sorted((tmp_path / "out" / name).glob("*.dcm"))))
    seg = case.seg()
    files = encode(seg), encode(case.report(seg))
    verify_seg(files[0], case.sources, case.label_map)
    for file in files:
        (tmp_path / "object.dcm").write_bytes(file)
        status, words = dciodvfy(tmp_path / "object.dcm")
        assert status == 0 or name == "utf8_declared_latin1_bytes", words
        if name == "utf8_declared_latin1_bytes":
            assert "Müller^Jörg".encode("latin-1") in file
