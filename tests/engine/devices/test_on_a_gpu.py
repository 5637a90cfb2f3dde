"""The default model on a real GPU, by real plans and by torch: `pytest -m gpu`."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from engine.acceptance.gate import check_device
from engine.acceptance.reference import compare, faults_of
from engine.admin.doctor import Health, examine
from engine.devices.tensorrt.cuda import checked, cuda_runtime
from engine.devices.tensorrt.plan_device import open_active, open_plan
from engine.errors import (
    BuildFailed,
    DeviceFailed,
    DeviceOutOfMemory,
    LibraryMissing,
    UnverifiedPlan,
)
from engine.model import load_model
from engine.phantom import make_phantom
from engine.plans.key import Flavour, Precision
from engine.plans.store import PlanStore
from engine.segmentation.segment import segment
from engine.serving.fleet import Fleet, openers
from engine.volume import Label
from tests.engine.conftest import open_processor
from tests.engine.plans.verified_plan import verified_plan as build_and_verify

pytestmark = pytest.mark.gpu

SPACING = 0.8, 0.8
SIZES = (512, 512), (400, 304), (512, 512), (768, 768), (512, 512)


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    return tmp_path_factory.mktemp("plans")


def verified_plan(model, plans, precision, **options):
    """Build and verify a plan, or skip where TensorRT is absent or cannot build for this GPU."""
    try:
        return build_and_verify(model, plans, precision, **options)
    except (LibraryMissing, BuildFailed) as error:
        pytest.skip(f"not measured: {error}")


@pytest.fixture(scope="module")
def plan(base, plans):
    """A plan in half precision, active."""
    judged = verified_plan(base, plans, Precision.FLOAT16)
    assert judged.manifest.check.faults == ()
    return PlanStore(plans).activate(judged.name)


@pytest.fixture
def device(base, plan, plans):
    return open_plan(plan, PlanStore(plans), base)


@pytest.fixture(scope="module")
def processor(base):
    return open_processor(base)


def slices(count, size=(512, 512)):
    made = make_phantom(shape=(8, *size), spacing_mm=(40.0, *SPACING))
    return np.resize(made.volume.hu, (count, *size)).astype(np.float16)


def require_near(base, device, processor, hu):
    figures = compare(device.run(hu, SPACING), processor.run(hu, SPACING))
    assert figures.differing_pixels <= base.manifest.tolerances.differing_pixels
    assert figures.dice[Label.LIVER] >= base.manifest.tolerances.dice


def test_a_plan_in_single_precision_passes_the_gate_too(base, plans):
    judged = verified_plan(base, plans, Precision.FLOAT32, batch=4)
    assert judged.manifest.check.faults == ()


def test_a_plan_in_integers_is_near_and_serves_only_where_it_is_near_enough(base, plans):
    pytest.importorskip("onnxruntime.quantization", reason="int8 comes with the extra `int8`")
    plan = verified_plan(base, plans, Precision.INT8, batch=4)
    check = plan.manifest.check
    assert check.batches == (1, 2, 3, 4)
    assert check.dice["liver"] > 0.99  # 0.9995 and 0.9946 on a processor, by OpenVINO
    assert check.dice["tumour"] > 0.98
    if check.faults:
        with pytest.raises(UnverifiedPlan):
            PlanStore(plans).activate(plan.name)


def test_any_number_of_slices_of_any_size_is_answered_as_on_the_processor(base, device, processor):
    for count, size in zip((9, 3, 8, 1, 37), SIZES, strict=True):
        require_near(base, device, processor, slices(count, size))


def test_what_is_filled_up_and_computed_by_a_graph_is_what_the_gate_saw(base, device, plan, plans):
    hu = slices(5)
    exact = open_plan(plan, PlanStore(plans), base, exact=True)
    ours, theirs = device.run(hu, SPACING), exact.run(hu, SPACING)
    assert faults_of(compare(ours, theirs), base.manifest.tolerances) == []
    again = device.run(hu, SPACING)
    np.testing.assert_array_equal(again.labels, ours.labels)


def test_a_cuda_graph_is_made(device, plan, plans):
    device.run(slices(1), SPACING)
    if plan.key.flavour is Flavour.RTX:
        assert PlanStore(plans).kernels_file(plan).stat().st_size > 0  # makes its graphs itself
    else:
        streams = [each for some in device._streams.values() for each in some]
        assert streams
        assert all(each._graph is not None for each in streams)


def test_all_gpus_here_serve_together(base, plan, plans, processor):
    require_near(base, open_active(base, PlanStore(plans)), processor, slices(37))


def test_every_thread_is_answered(base, device, processor):
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda n: require_near(base, device, processor, slices(n)), range(1, 7)))


def test_plans_that_are_opened_one_after_another_leave_no_memory_behind(base, plan, plans):
    seen = []
    for _ in range(6):
        device = open_plan(plan, PlanStore(plans), base)
        device.run(slices(9), SPACING)
        seen.append(device.memory_mb)
        del device
    assert max(seen[1:]) < seen[1] + 64


def test_where_memory_is_short_it_answers_or_says_so_and_answers_again_later(
    base, device, processor, plan, plans
):
    runtime = cuda_runtime()
    for left_mb in (512, 64, 8):
        free, _ = checked(runtime, runtime.cudaMemGetInfo())
        held = checked(runtime, runtime.cudaMalloc(free - (left_mb << 20)))
        with suppress(DeviceFailed):
            device.run(slices(9, (1024, 1024)), SPACING)
        checked(runtime, runtime.cudaFree(held))
    require_near(base, open_plan(plan, PlanStore(plans), base), processor, slices(9))


def test_a_volume_is_segmented_as_on_the_processor(base, plan, plans, processor):
    volume = make_phantom(shape=(60, 512, 512), spacing_mm=(6.0, *SPACING)).volume
    device = Fleet(openers(base, plans)).device()
    assert device.name == f"TensorRT {plan.name}"
    here, there = (segment(volume, each).label_map.labels for each in (processor, device))
    assert np.count_nonzero(here != there) <= base.manifest.tolerances.differing_pixels * here.size


def test_the_doctor_finds_all_in_order(base, plan, plans):
    seen = {each.what: each for each in examine(base.folder, plans)}
    assert {seen[what].health for what in ("GPU", "TensorRT", "phantom")} == {Health.GOOD}
    assert f"TensorRT {plan.name}" in seen["phantom"].text


@pytest.fixture(scope="module")
def programmed(base, tmp_path_factory):
    """The default model with a program for torch, which has CUDA here."""
    torch = pytest.importorskip("torch", reason="torch comes with the extra `trainer`")
    if not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} has no CUDA")
    from tests.benchmarks.programs import with_program

    return load_model(with_program(tmp_path_factory.mktemp("models") / "base"))


def test_torch_passes_the_gate_and_answers_any_number_of_slices(base, programmed, processor):
    from engine.devices.torch_gpu import open_accelerator

    device = open_accelerator(programmed)
    assert device.name.startswith("torch cuda")
    for count, size in zip((9, 3, 8, 1, 37), SIZES, strict=True):
        require_near(base, device, processor, slices(count, size))
    assert check_device(programmed, device, range(1, 9)).faults == ()


def test_torch_where_memory_is_short_answers_or_says_so(programmed, processor, base):
    import torch

    from engine.devices.torch_gpu import open_torch

    for part in (0.05, 0.01, 0.002):
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(part)
        with suppress(DeviceOutOfMemory):
            open_torch(programmed, place="cuda").run(slices(9, (1024, 1024)), SPACING)
        torch.cuda.set_per_process_memory_fraction(1.0)
    require_near(base, open_torch(programmed, place="cuda"), processor, slices(9))
