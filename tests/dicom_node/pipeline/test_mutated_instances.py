"""Damaged instances at every reader: refused by name, or read; never another end.

One of each known kind and 100 others in the suite; `HEPAR_MUTANTS=10000` tries more, as `make soak`
does.
"""

import os
from contextlib import suppress
from functools import cache
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmwrite

from dicom_node.audit.instances import study_of
from dicom_node.errors import NodeError, RejectedInstance
from dicom_node.jobs.content_digest import content_digest
from dicom_node.jobs.submit.asked_for import is_asked_for
from dicom_node.jobs.submit.modality import modality_of
from dicom_node.pipeline.process import process
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.receive.part10_intake import to_instance
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.objects import ObjectKind, ResultObject
from dicom_node.results.phantom import to_instances
from dicom_node.selection.priority import is_urgent
from dicom_node.selection.rules import PriorityRules, Rules
from engine.errors import EngineError
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds
from tests.mutations import KNOWN, mutated, mutations

EXAMPLES = int(os.environ.get("HEPAR_MUTANTS", "100"))
URGENT = PriorityRules(include={"SeriesDescription": "stroke"})
SETUP = SegmentationSetup(
    Thresholds(),
    Algorithm("toy", "1", "ab" * 32),
    Rules(),
    frozenset({ResultObject(ObjectKind.SEG)}),
)


@cache
def _slices():
    """Return the slices of a small phantom as files."""
    phantom = make_phantom(shape=(12, 40, 40), spacing_mm=(16, 9, 9), noise_hu=2)
    files = []
    for instance in to_instances(phantom, "mutated"):
        file = BytesIO()
        dcmwrite(file, instance, enforce_file_format=True)
        files.append(file.getvalue())
    return files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mutated")


@given(st.integers(0, 11), mutations())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 100,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_instance_is_refused_by_name_or_read(folder, which, changes):
    read_damaged(folder, which, changes)


@pytest.mark.parametrize("damage", KNOWN)
@pytest.mark.filterwarnings("ignore")
def test_damage_of_a_known_kind_is_refused_by_name_or_read(folder, damage):
    read_damaged(folder, 5, [KNOWN[damage]])


def read_damaged(folder, which, changes):
    files = list(_slices())
    files[which] = mutated(files[which], changes)
    paths = [folder / f"{index}.dcm" for index in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    with suppress(RejectedInstance):
        to_instance(files[which], "CT").checked_header()
    study_of("1.2.3", paths)
    assert isinstance(is_urgent(paths, URGENT), bool)
    assert isinstance(is_asked_for(paths), bool)
    assert isinstance(modality_of(paths[which]), str)
    content_digest(paths)
    # What it writes, it reads back and compares with the series.
    with suppress(NodeError, EngineError):
        process(paths, folder / "seg.dcm", SETUP, series="mutated")
