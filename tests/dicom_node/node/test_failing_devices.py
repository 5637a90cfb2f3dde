"""A whole node whose devices fail in turn at each moment of a job: C-STORE in, SEG out.

TensorRT runs on a GPU of plain memory; torch's accelerator is the processor. One node does all
jobs: before each, the devices that failed may be tried again.
"""

import re
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

torch = pytest.importorskip("torch", reason="torch comes with the extra `trainer`")

from dicom_node.config.settings import Settings  # noqa: E402
from dicom_node.data_folder import DataFolder  # noqa: E402
from dicom_node.deliver.c_store_scu import StorePeer  # noqa: E402
from dicom_node.jobs.ledger import open_ledger  # noqa: E402
from dicom_node.jobs.state import State  # noqa: E402
from dicom_node.node import startup  # noqa: E402
from dicom_node.node.node import running_node  # noqa: E402
from dicom_node.pipeline.segmenter import Segmenter  # noqa: E402
from dicom_node.results.phantom import write_series  # noqa: E402
from engine.devices import torch_gpu  # noqa: E402
from engine.devices.openvino_cpu import OpenVino  # noqa: E402
from engine.devices.tensorrt import plan_device  # noqa: E402
from engine.devices.torch_gpu import open_nearest  # noqa: E402
from engine.model import load_model  # noqa: E402
from engine.phantom import Phantom, make_phantom  # noqa: E402
from engine.plans.key import Options  # noqa: E402
from engine.plans.store import PlanStore  # noqa: E402
from engine.serving import fleet  # noqa: E402
from engine.volume import Label  # noqa: E402
from tests.engine.devices.fake_gpu import installed  # noqa: E402
from tests.engine.plans.factories import make_check, make_key, make_manifest  # noqa: E402
from tests.engine.serving.breaker import MOMENTS, NAMES, Breaker  # noqa: E402
from tests.engine.toy_model import LIVER_HU, TUMOUR_HU  # noqa: E402
from tests.engine.toy_program import write_toy_with_program  # noqa: E402
from tests.waiting import wait_until  # noqa: E402

SIDE = 32


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def gpu(patch):
    gpu = installed(patch)
    yield gpu
    assert gpu.faults == []


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    return Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 0.2, "resend_s": 0, "keep_free_mb": 0},
        engine={"model": write_toy_with_program(folder / "model"), "threads": 1},
        jobs={"first_pause_s": 0.1, "longest_pause_s": 0.2},
        peers={"shelf": {"kind": "folder", "folder": folder / "shelf", "objects": ["seg"]}},
    )


@pytest.fixture(scope="module")
def plans(settings):
    """A store with an active plan that takes few slices."""
    store = PlanStore(DataFolder(settings.node.data).plans)
    options = Options(batch=1, usual=SIDE, largest=64)
    key = make_key(model=load_model(settings.engine.model).digest, options=options)
    with store.building():
        plan = store.keep(make_manifest(b"engine", key), b"engine")
    store.record_check(plan, make_check())
    store.activate(plan.name)
    return store


@pytest.fixture(scope="module")
def fleets(patch):
    """The node's fleet, once it has been made."""
    made = []

    def noted(*arguments):
        made.append(fleet.Fleet(*arguments))
        return made[-1]

    patch.setattr(startup, "Fleet", noted)
    return made


@pytest.fixture(scope="module")
def ahead_s(patch):
    """Seconds that the clock of the fleet is ahead by, all together."""
    ahead_s, monotonic = [], fleet.monotonic
    patch.setattr(fleet, "monotonic", lambda: monotonic() + sum(ahead_s))
    return ahead_s


@pytest.fixture(scope="module")
def breaker(patch, gpu):
    """Devices fail in jobs only, not when they are held against the reference."""
    breaker = Breaker(patch, gpu)
    run = Segmenter.run

    def armed_run(segmenter, work):
        def armed(setup):
            breaker.armed = True
            try:
                return work(setup)
            finally:
                breaker.armed = False

        return run(segmenter, armed)

    patch.setattr(Segmenter, "run", armed_run)
    return breaker


@pytest.fixture(scope="module")
def node(settings, plans, gpu, breaker, fleets, patch):
    accelerator = open_nearest(load_model(settings.engine.model), "cpu")  # half a second
    patch.setattr(torch_gpu, "open_accelerator", lambda model: accelerator)
    for device in (torch_gpu.Torch, OpenVino):
        patch.setattr(device, "batch", 4)  # several calls for so few slices
    with running_node(settings) as node:
        yield StorePeer("node", node.ae_title, *node.address)


@pytest.fixture(scope="module")
def ledger(settings, node):
    with open_ledger(settings.database_url) as ledger:
        yield ledger


@pytest.fixture
def ready(node, plans, gpu, fleets, ahead_s):
    """Let TensorRT serve again and the others wait unopened, as in a node that was just started."""
    gpu.broken = False
    plan_device._lost.clear()
    ahead_s.append(fleet.RETRY_AFTER_S + 1)
    (plan,) = plans.plans()
    plans.activate(plan.name)
    assert fleets[0].device().name.startswith(NAMES["TensorRT"])
    plans.activate(plan.name)  # again: the next job opens it anew
    yield
    gpu.broken = False


@pytest.fixture(scope="module")
def drawn():
    """A phantom that the toy model marks as it was drawn."""
    made = make_phantom(shape=(16, SIDE, SIDE), spacing_mm=(12, 11, 11), noise_hu=0, tumours=1)
    truth = made.truth.labels
    hu = np.select([truth == Label.LIVER, truth == Label.TUMOUR], [LIVER_HU, TUMOUR_HU], -50)
    return Phantom(replace(made.volume, hu=hu.astype(np.int16)), made.truth)


@pytest.fixture
def send(node, drawn, tmp_path):
    def send():
        """Send the phantom as a series of its own and return its UID."""
        files = write_series(drawn, generate_uid(), tmp_path / generate_uid())
        node.send_many(files)
        return dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID

    return send


def ended(ledger, series):
    """Wait for the job on a series, and return it."""
    wait_until(
        lambda: any(job.series_uid == series and job.finished for job in ledger.jobs()),
        what=f"the end of the job on {series}",
    )
    (job,) = (job for job in ledger.jobs() if job.series_uid == series)
    return job


def delivered(settings, job):
    """Return the device and the labels of a delivered SEG."""
    (path,) = settings.peers["shelf"].folder.rglob(f"*{job.outcome.seg_uid}*")
    seg = dcmread(path)
    (parameters,) = {
        each.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters
        for each in seg.SegmentSequence
    }
    return parameters.split("device=")[1], (seg.NumberOfFrames, seg.PixelData)


@pytest.fixture(scope="module")
def expected():
    """Labels of a job, by the first test that ended one."""
    return []


def require_on(device, job, settings, expected):
    name, labels = delivered(settings, job)
    assert name.startswith(NAMES[device])
    expected.append(labels)
    assert labels == expected[0]


def test_with_nothing_wrong_tensorrt_computes(ready, send, ledger, settings, expected):
    job = ended(ledger, send())
    assert job.state is State.DONE
    require_on("TensorRT", job, settings, expected)


def require_named(devices, moment, text):
    for device in devices:
        named = device if moment == "opening" else NAMES[device]
        assert re.search(rf"{named}.*{moment} made here", text), text


@pytest.fixture
def job_without(breaker, send, ledger, caplog):
    """Do a job while these devices fail at a moment; the log names each, and what served then."""

    def job_without(failing, moment, serving=None):
        caplog.clear()
        with ExitStack() as stack, caplog.at_level("INFO"):
            for device in failing:
                stack.enter_context(breaker.broken(device, moment))
            job = ended(ledger, send())
        require_named(failing, moment, caplog.text)
        if serving:
            assert job.state is State.DONE
            assert f"serving on {NAMES[serving]}" in caplog.text
        return job

    return job_without


@pytest.mark.parametrize("moment", MOMENTS)
def test_where_two_fail_the_job_ends_on_the_third_with_the_same_labels(
    ready, job_without, settings, expected, moment
):
    job = job_without(["TensorRT", "torch"], moment, "OpenVINO")
    require_on("OpenVINO", job, settings, expected)


@pytest.mark.parametrize("moment", MOMENTS)
def test_where_all_fail_the_record_says_so_and_the_next_job_ends_on_the_first_that_works(
    ready, job_without, settings, expected, gpu, moment
):
    job = job_without(NAMES, moment)
    assert job.state is State.FAILED
    # Devices that the job was begun on are in the log; the last one ends it.
    require_named(NAMES if moment == "opening" else ["OpenVINO"], moment, job.reason)
    if moment == "sticky error":  # as the node's own process was restarted; the GPU is faulty
        gpu.broken = False
        plan_device._lost.clear()
    job = job_without(["TensorRT"], moment, "torch")
    require_on("torch", job, settings, expected)
