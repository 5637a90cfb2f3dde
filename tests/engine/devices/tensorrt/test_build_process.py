"""Real plans, built by TensorRT for RTX on a machine that need not have a GPU."""

import os
import signal
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import onnx
import pytest

from engine.devices import quantized
from engine.devices.tensorrt import build_process as build
from engine.devices.tensorrt import builder as tensorrt_builder
from engine.devices.tensorrt.build_process import Request, build_in_process, build_plan, why_build
from engine.devices.tensorrt.library import Library, load_tensorrt
from engine.errors import BrokenModel, BuildFailed, BuildInProgress, LibraryMissing
from engine.model import load_model
from engine.plans.key import Flavour, Options, PlanKey, Precision
from engine.plans.plan import State
from engine.plans.store import PlanStore
from tests.engine.plans.convolution_model import write_convolution_model
from tests.engine.plans.factories import make_check, make_key
from tests.engine.toy_model import write_manifest

QUICK = Options(batch=2, usual=64, largest=128, level=0)


@pytest.fixture(scope="session")
def rtx():
    try:
        return load_tensorrt(Flavour.RTX)
    except LibraryMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return load_model(write_convolution_model(tmp_path_factory.mktemp("models") / "small"))


@pytest.fixture
def ask(rtx, model, tmp_path):
    """A request for a plan in a store of its own."""

    def make(model=model, **changes):
        key = {
            "architecture": "sm89",
            "flavour": rtx.flavour,
            "version": rtx.version,
            "precision": Precision.FLOAT32,
            "model": model.digest,
            "options": QUICK,
        }
        return Request(model.folder, tmp_path / "plans", PlanKey(**(key | changes)))

    return make


@pytest.mark.parametrize("architecture", ["sm86", "sm89", "sm120"])
def test_plans_are_built_for_gpus_that_are_not_here(ask, architecture):
    request = ask(architecture=architecture)
    told = []
    plan = build_plan(request, lambda *news: told.append(news))
    assert (plan.state, plan.key) == (State.BUILT, request.key)
    content = PlanStore(request.plans).load(plan)
    assert content[:4] == b"vtrt"
    assert len(content) == plan.manifest.size > 100_000
    assert {done <= of for _, done, of in told} == {True}


class Measuring:
    """A TensorRT's configuration that takes the measurements of its own kind only."""

    def create_timing_cache(self, content):
        return SimpleNamespace(content=content) if content in (b"", b"own") else None

    def set_timing_cache(self, cache, ignore_mismatch):
        return not ignore_mismatch


@pytest.mark.parametrize(
    ("kept", "taken"),
    [(None, b""), (b"own", b"own"), (b"other", b"")],
    ids=["none", "own", "other"],
)
def test_what_an_earlier_build_measured_is_taken_unless_it_is_of_others(tmp_path, kept, taken):
    timing = tmp_path / "sm89.timing"
    if kept is not None:
        timing.write_bytes(kept)
    library = Library(Flavour.TENSORRT, "11.0", SimpleNamespace())
    work = SimpleNamespace(library=library)
    assert tensorrt_builder._Work.timing_cache(work, Measuring(), timing).content == taken


class Built:
    """A build that measured something."""

    builder = SimpleNamespace(build_serialized_network=lambda network, config: b"engine")
    trt = None

    def __init__(self, library, monitor):
        pass

    def parsed(self, graph):
        return None

    configured = parsed

    def timing_cache(self, config, timing):
        return SimpleNamespace(serialize=lambda: b"measured")


def test_what_a_build_measured_is_kept_for_the_builds_of_other_users(gpu, tmp_path, monkeypatch):
    """root may build what the node's user serves, and that user may build the next one."""
    monkeypatch.setattr(tensorrt_builder, "_Work", Built)
    monkeypatch.setattr(tensorrt_builder, "_monitor", lambda library, progress: None)
    timing = tmp_path / "sm89.timing"
    key = make_key(flavour=Flavour.TENSORRT)
    library = Library(Flavour.TENSORRT, "11.0", SimpleNamespace())
    tensorrt_builder.build_engine(library, tmp_path / "graph.onnx", key, timing=timing)
    assert timing.read_bytes() == b"measured"
    assert timing.stat().st_mode & 0o777 == 0o644


def test_what_is_float32_is_multiplied_in_float32(rtx, ask):
    """Ten bits, which TensorRT would take for it unasked, tip over near-ties of the resampling."""
    work = tensorrt_builder._Work(rtx, tensorrt_builder._monitor(rtx, None))
    config = work.configured(ask().key)
    assert work.builder.create_builder_config().get_flag(rtx.module.BuilderFlag.TF32)
    assert not config.get_flag(rtx.module.BuilderFlag.TF32)


def test_the_workspace_of_a_build_is_limited(rtx, ask):
    work = tensorrt_builder._Work(rtx, tensorrt_builder._monitor(rtx, None))
    config = work.configured(ask().key)
    pool = rtx.module.MemoryPoolType.WORKSPACE
    assert config.get_memory_pool_limit(pool) == tensorrt_builder.WORKSPACE_BYTES


def test_a_plan_takes_any_batch_size_and_is_tuned_for_a_middle_one(rtx):
    work = tensorrt_builder._Work(rtx, tensorrt_builder._monitor(rtx, None))
    profile = work._profile(Options(batch=64, usual=512, largest=1024))
    assert [tuple(shape) for shape in profile.get_shape("hu")] == [
        (1, 32, 32),
        (16, 512, 512),
        (64, 1024, 1024),
    ]


def refusing(rtx, monkeypatch, method, answer):
    """A build whose configuration answers one call so."""
    work = tensorrt_builder._Work(rtx, tensorrt_builder._monitor(rtx, None))
    config = work.builder.create_builder_config()
    real = type(config)

    class Config(SimpleNamespace):
        def __getattr__(self, name):
            return (lambda *_: answer) if name == method else getattr(config, name)

    assert hasattr(real, method)
    work.builder = SimpleNamespace(
        create_builder_config=Config,
        create_optimization_profile=work.builder.create_optimization_profile,
    )
    return work


@pytest.mark.parametrize(
    ("method", "answer", "complaint"),
    [
        ("add_optimization_profile", -1, "rejects slices of 32 to 128 rows and columns, 2 at once"),
        ("set_compute_capability", False, "refuses to build for sm89"),
    ],
)
def test_what_tensorrt_refuses_without_an_exception_fails_the_build(
    rtx, ask, monkeypatch, method, answer, complaint
):
    work = refusing(rtx, monkeypatch, method, answer)
    with pytest.raises(BuildFailed, match=complaint):
        work.configured(ask().key)


def test_tensorrt_itself_builds_only_for_a_gpu_that_is_here(gpu, model):
    """It would build for that GPU, and the plan would be called after another."""
    library = Library(Flavour.TENSORRT, "11.0", SimpleNamespace())
    key = make_key(flavour=Flavour.TENSORRT, architecture="sm90")
    with pytest.raises(BuildFailed, match=r"GPUs of this machine \(sm89\), not for sm90"):
        tensorrt_builder.build_engine(library, model.graph, key)


def test_tensorrt_builds_on_the_gpu_that_the_plan_is_for(gpu, model, monkeypatch):
    fast = SimpleNamespace(name=b"Fast", major=12, minor=0, totalGlobalMem=1 << 30)
    slow = gpu.cudaGetDeviceProperties(0)[1]
    gpu.cudaGetDeviceCount = lambda: (gpu.good, 2)
    gpu.cudaGetDeviceProperties = lambda index: (gpu.good, (slow, fast)[index])
    tensorrt_builder._use_gpu_of("sm120")
    assert gpu.used == [1]


def test_a_tensorrt_that_does_not_start_builds_nothing_and_says_why(model):
    def nothing(logger):
        logger.log(1, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    module = SimpleNamespace(ILogger=object, IProgressMonitor=object, Builder=nothing)
    with pytest.raises(BuildFailed, match="does not start: CUDA initialization failure"):
        tensorrt_builder.build_engine(Library(Flavour.RTX, "1.7", module), model.graph, make_key())


def test_a_source_tree_that_is_not_installed_builds_too(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(build, "version", absent)
    assert build._hepar_version() == "unknown"


def test_half_precision_is_another_plan(ask):
    single = build_plan(ask())
    half = build_plan(ask(precision=Precision.FLOAT16))
    assert single.key.name != half.key.name
    assert why_build(PlanStore(ask().plans), half.key) == ""


def test_integers_are_put_into_the_graph_and_built(ask, monkeypatch):
    monkeypatch.setattr(quantized, "KEPT_AT_END", 1)
    plan = build_plan(ask(precision=Precision.INT8))
    assert "-int8-" in plan.name
    assert PlanStore(ask().plans).load(plan)[:4] == b"vtrt"


def test_a_graph_without_a_convolution_to_quantise_is_told(ask):
    with pytest.raises(BuildFailed, match="no convolution that may be quantised; use float16"):
        build_plan(ask(precision=Precision.INT8))
    assert PlanStore(ask().plans).plans() == []


def test_a_plan_is_built_in_a_process_of_its_own_with_progress(ask):
    told = []
    plan = build_in_process(ask(), lambda *news: told.append(news))
    assert plan.state is State.BUILT
    assert told


def test_a_build_that_is_killed_leaves_nothing_and_the_next_one_works(ask):
    request = ask()

    def kill(*_):
        for child in build.multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(BuildFailed, match="died with exit code -9; nothing was kept"):
        build_in_process(request, kill)
    assert PlanStore(request.plans).plans() == []
    assert build_plan(request).state is State.BUILT


def test_a_second_build_in_the_same_folder_is_refused_at_once(ask):
    request = ask()
    with PlanStore(request.plans).building(), pytest.raises(BuildInProgress):
        build_in_process(request)


def test_an_interrupted_caller_ends_its_build(ask):
    request = ask()

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_in_process(request, interrupt)
    with PlanStore(request.plans).building():
        assert PlanStore(request.plans).plans() == []


def test_no_room_for_the_plan_is_told_and_nothing_is_kept(ask, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    request = ask()
    monkeypatch.setattr("engine.plans.store.write_durably", full)
    with pytest.raises(BuildFailed, match="No space left on device; free space"):
        build_plan(request)
    assert PlanStore(request.plans).plans() == []


def test_no_room_for_what_was_measured_is_told_too(ask, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "build_engine", full)
    with pytest.raises(BuildFailed, match="No space left on device; free space"):
        build_plan(ask())


def test_a_folder_that_cannot_be_made_is_told(ask, tmp_path):
    (tmp_path / "plans").write_bytes(b"a file")
    with pytest.raises(BuildFailed, match=r"cannot build a plan in .*choose another folder"):
        build_plan(ask())


def test_a_graph_that_tensorrt_cannot_build_is_told_with_its_words(ask, model, tmp_path):
    graph = onnx.load(model.graph)
    for node in graph.graph.node:
        if "labels" in node.output:
            node.output[0] = "narrow"
    graph.graph.node.append(onnx.helper.make_node("Add", ["narrow", "narrow"], ["labels"]))
    folder = write_convolution_model(tmp_path / "odd")
    onnx.save(graph, folder / "ensemble.onnx")
    write_manifest(folder)
    with pytest.raises(BuildFailed, match=r"UINT8 .*export the model again"):
        build_plan(ask(load_model(folder)))


def test_a_file_that_is_no_graph_is_told(ask, tmp_path):
    folder = write_convolution_model(tmp_path / "odd")
    (folder / "ensemble.onnx").write_bytes(b"no graph")
    write_manifest(folder)
    with pytest.raises(BuildFailed, match="cannot parse"):
        build_plan(ask(load_model(folder)))


def test_a_model_that_changed_since_it_was_asked_for_is_refused(ask, tmp_path):
    folder = write_convolution_model(tmp_path / "changing")
    request = ask(load_model(folder))
    write_manifest(folder, version="9")
    with pytest.raises(BuildFailed, match="changed since the request: built for model"):
        build_plan(request)
    (folder / "ensemble.onnx").write_bytes(b"")
    with pytest.raises(BrokenModel):
        build_plan(request)


def test_an_architecture_that_cannot_be_built_ahead_names_those_that_can(ask):
    with pytest.raises(BuildFailed, match="cannot build for sm90, only for sm75, sm80, sm86, sm89"):
        build_plan(ask(architecture="sm90"))


def test_what_is_good_is_not_built_again_and_what_is_not_says_why(ask):
    request = ask()
    store = PlanStore(request.plans)
    assert why_build(store, request.key) == "there is no plan for sm89 yet"
    plan = build_plan(request)
    assert why_build(store, request.key) == ""
    assert why_build(store, ask(architecture="sm86").key) == "there is no plan for sm86 yet"
    newer = request.key.model_copy(update={"version": "9.9"})
    assert "installed is 9.9" in why_build(store, newer)
    assert "level 0 != 3" in why_build(store, ask(options=replace_level(QUICK, 3)).key)
    store.record_check(plan, make_check(passed=False))
    assert why_build(store, request.key) == f"{plan.name} was rejected"


def replace_level(options, level):
    return options.model_copy(update={"level": level})


@pytest.mark.parametrize("architecture", ["sm86", "sm89", "sm120"])
def test_the_default_model_is_built_ahead_of_time(ask, base, architecture):
    options = Options(batch=2, level=0)
    plan = build_plan(ask(base, architecture=architecture, options=options))
    assert plan.manifest.model.startswith("base ")
    assert plan.name.startswith(architecture)
