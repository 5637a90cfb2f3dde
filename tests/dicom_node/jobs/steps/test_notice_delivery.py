"""Superseded results at a peer: kept, rejected or deleted, as its configuration asks."""

from dataclasses import replace

import pytest
from pydicom import dcmread

from dicom_node.config.settings import Settings
from dicom_node.deliver.confirmation import Confirmation
from dicom_node.deliver.folder import FolderPeer
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.steps.deliverer import Deliverer
from dicom_node.jobs.steps.notice_delivery import withdrawals
from dicom_node.jobs.steps.series_worker import delivery_tasks
from dicom_node.pipeline.outcome import Outcome, Verdict
from dicom_node.results.attributes.number_register import NumbersOfRun
from dicom_node.results.objects import Profile, Superseded
from dicom_node.results.seg import encode
from tests.dicom_node.drawing import draw_case


@pytest.fixture
def outcomes(ct_series, tmp_path):
    """Outcomes of an older and a newer job on a series, whose SEGs are there."""
    made = []
    for name, slices in {"old": 8, "new": 9}.items():
        file = tmp_path / f"{name}.dcm"
        file.write_bytes(encode(draw_case(ct_series(slices=slices, rows=20, columns=24)).seg()))
        made.append(Outcome(Verdict.SEGMENTED, seg=file))
    return made


@pytest.fixture
def run(outcomes, tmp_path):
    """Deliver the old result, then the new one and what follows it; return what the peer has."""

    def run(superseded, old=None):
        profiles = {"shelf": Profile(superseded=superseded)}
        peer = FolderPeer("shelf", tmp_path / "shelf")
        deliverer = Deliverer({"shelf": peer}, profiles, Backoff())
        first, new = (delivery_tasks("1.2", each, profiles) for each in outcomes)
        notices = withdrawals(
            new, [old or outcomes[0]], tmp_path / "new.dcm", profiles, NumbersOfRun()
        )
        for task in (*first, *new, *notices):
            deliverer.deliver(task)
        assert all(task.after == "seg" for task in notices)
        confirmed = [deliverer.confirm(task).by for task in notices]
        return {dcmread(file).Modality: file for file in peer.folder.iterdir()}, confirmed

    return run


def uid(file):
    return str(dcmread(file, stop_before_pixels=True).SOPInstanceUID)


def test_by_default_both_stay(run, tmp_path):
    assert run(Superseded.KEEP)[1] == []
    assert len(list((tmp_path / "shelf").iterdir())) == 2


def test_a_peer_is_sent_what_rejects_them(run, outcomes):
    there, confirmed = run(Superseded.REJECT)
    (study,) = dcmread(there["KO"]).CurrentRequestedProcedureEvidenceSequence
    (named,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert named.ReferencedSOPInstanceUID == uid(outcomes[0].seg)
    assert confirmed == [Confirmation.WRITTEN]


def test_a_peer_that_can_deletes_them_and_nothing_else(run, outcomes):
    there, confirmed = run(Superseded.DELETE)
    assert [file.stem for file in there.values()] == [uid(outcomes[1].seg)]
    assert confirmed == [Confirmation.DELETED]


def test_what_was_made_again_as_it_was_is_not_withdrawn(run, outcomes):
    assert run(Superseded.DELETE, old=replace(outcomes[1]))[1] == []


def test_without_new_results_the_old_ones_stay(outcomes, tmp_path):
    profiles = {"shelf": Profile(superseded=Superseded.DELETE)}
    assert withdrawals((), [outcomes[0]], tmp_path / "new.dcm", profiles, NumbersOfRun()) == ()


def test_a_dicom_node_cannot_be_told_to_delete():
    table = {"kind": "store", "ae_title": "A", "host": "a", "superseded": "delete"}
    with pytest.raises(ValueError, match='set superseded to "reject"'):
        Settings(peers={"pacs": table})
