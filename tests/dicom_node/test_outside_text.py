"""Whatever a peer or a file says becomes one short, harmless line."""

import io
import logging
import re
import subprocess
import sys

import pytest

from dicom_node.logs import LineFormatter
from dicom_node.outside_text import outside_text

ATTACKS = [
    "Musterfrau^Erika",
    "x" * 50_000 + "Musterfrau^Erika",
    "Musterfrau^Erika " * 10_000,
    "1.2.3\n2026-11-27 INFO forged line action=deliver",
    "1.2.3\r\nforged",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\u202egnp.exe",
    "\u2028forged",
    "\x00\x01\x02" * 500,
    "ä" * 5000,
    "漢" * 5000,
    "^" * 100_000,
    "%s%s%n {0} {x}",
]


@pytest.mark.parametrize("text", ATTACKS, ids=range(len(ATTACKS)))
def test_it_is_one_short_line_without_a_name(text):
    made = outside_text(text)
    assert len(made) <= 200
    assert made.isprintable()
    assert "Erika" not in made


def test_ordinary_text_is_left_as_it_is():
    text = "slices 31 and 32 of 1.2.840.113619.2.55 are 10 mm apart; send the missing one (Ä, µ)"
    assert outside_text(text) == text


def test_what_is_left_out_is_counted():
    assert outside_text("x" * 1000).endswith("x… (1000 characters)")


@pytest.mark.parametrize("text", ATTACKS, ids=range(len(ATTACKS)))
@pytest.mark.parametrize("where", ["message", "argument", "field"])
def test_a_line_of_the_log_is_one_short_line(text, where):
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(LineFormatter())
    logger = logging.getLogger("outside")
    logger.propagate = False
    logger.handlers = [handler]
    if where == "message":
        logger.warning(text)
    elif where == "argument":
        logger.warning("refused: %s", text, extra={"action": "store_refused"})
    else:
        logger.warning("done", extra={"action": "queue", "series": text})
    (line,) = lines.getvalue().split("\n")[:-1]
    assert len(line.encode()) < 2048
    assert line.isprintable()
    assert "Erika" not in line


QUOTING = """
import logging, threading, warnings
from dicom_node.logs import start_logging
start_logging()
import pydicom, highdicom, pynetdicom
from pydicom import Dataset
d = Dataset()
d.PatientBirthDate = "Musterfrau Erika"
d.StudyDate = "Musterfrau Erika"
logging.getLogger("pydicom").warning("Musterfrau Erika")
logging.getLogger("pydicom").error("Musterfrau Erika")
logging.getLogger("highdicom.seg").warning("Musterfrau Erika")
warnings.warn("Musterfrau Erika")
def fail():
    raise ValueError("Musterfrau Erika")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""


def test_a_process_that_serves_quotes_no_value_after_its_imports():
    """Importing pydicom resets the level of its logger."""
    run = subprocess.run([sys.executable, "-c", QUOTING], capture_output=True, text=True)
    printed = run.stdout + run.stderr
    assert "Erika" not in printed
    assert len(re.findall("ValueError at <string>", printed)) == 2, printed
    assert run.returncode == 1
