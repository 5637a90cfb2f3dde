"""`hepar engine rebuild` as a script sees it, on a GPU of plain memory."""

import json

import pytest

from engine.admin import rebuild as module
from engine.devices.tensorrt import cuda
from engine.devices.tensorrt.library import Library
from engine.errors import BuildFailed, LibraryMissing
from engine.plans.key import Flavour, Options, Precision
from engine.plans.plan import State
from tests.engine.devices.fake_gpu import FakeContext, fake_tensorrt
from tests.engine.plans.factories import make_manifest


@pytest.fixture
def here(store, toy):
    return "--plans", store.folder, "--model", toy.folder


@pytest.fixture
def builds(gpu, store, monkeypatch):
    """The keys of the plans that were built; none is built by TensorRT."""
    keys = []

    def build(request):
        keys.append(request.key)
        content = b"engine %d" % len(keys)
        with store.building():
            return store.keep(make_manifest(content, request.key), content)

    library = Library(Flavour.RTX, fake_tensorrt.__version__, fake_tensorrt)
    monkeypatch.setattr(module, "build_in_process", build)
    monkeypatch.setattr(module, "load_tensorrt", lambda flavour: library)
    return keys


def report(run):
    return json.loads(run.output)


def test_without_any_plan_one_is_built_verified_and_activated(hepar, builds, here, store):
    run = hepar("rebuild", "--all", "--activate-when-verified", "--json", *here)
    (plan,) = store.plans()
    assert run.exit_code == 0, run.exception
    assert report(run) == {
        "plans": [
            {
                "architecture": "sm89",
                "status": "activated",
                "plan": plan.name,
                "previous": None,
                "reason": "there is no plan for sm89 yet",
            }
        ],
        "error": "",
    }
    assert plan.state is State.ACTIVE
    assert plan.manifest.check.batches == (*range(1, 9), 16, 32, 64)
    assert builds[0].precision is Precision.FLOAT16


def test_where_the_active_plan_is_current_nothing_is_done(hepar, builds, here):
    first = hepar("rebuild", "--all", "--activate-when-verified", *here)
    assert first.output.startswith("sm89: activated; sm89-tensorrt_rtx")
    again = hepar("rebuild", "--all", "--activate-when-verified", "--json", *here)
    assert [each["status"] for each in report(again)["plans"]] == ["current"]
    assert again.exit_code == 0
    assert len(builds) == 1


def test_after_an_upgrade_the_plan_is_replaced_and_the_old_one_kept_for_rollback(
    hepar, builds, here, store, keep, toy
):
    old = keep(
        b"engine old",
        passed=True,
        model=toy.digest,
        version="1.6.0.5",
        options=Options(batch=3),
        precision=Precision.FLOAT32,
    )
    store.activate(old.name)
    run = hepar("rebuild", "--all", "--activate-when-verified", "--json", *here)
    (found,) = report(run)["plans"]
    assert (found["status"], found["previous"]) == ("activated", old.name)
    assert "built by tensorrt_rtx 1.6.0.5, installed is 1.7.1.116" in found["reason"]
    assert (builds[0].options, builds[0].precision) == (Options(batch=3), Precision.FLOAT32)
    assert store.find(found["plan"]).state is State.ACTIVE
    assert store.find(old.name).state is State.PREVIOUS


def test_without_the_option_a_verified_plan_waits(hepar, builds, here, store):
    run = hepar("rebuild", "-a", "sm89", "--json", *here)
    assert (run.exit_code, report(run)["plans"][0]["status"]) == (0, "verified")
    assert store.slots() == {}
    run = hepar("rebuild", "-a", "sm89", "--activate-when-verified", "--json", *here)
    assert report(run)["plans"][0]["status"] == "activated"
    assert len(builds) == 1


def test_a_plan_that_does_not_pass_is_not_activated_and_the_old_one_stays(
    hepar, builds, here, store, keep, toy, monkeypatch
):
    old = keep(b"engine old", passed=True, model=toy.digest, version="1.6.0.5")
    store.activate(old.name)
    whole = FakeContext.compute

    def wrong(context):
        whole(context)
        context.at("labels", context.shape, "uint8")[:] = 1

    monkeypatch.setattr(FakeContext, "compute", wrong)
    run = hepar("rebuild", "--all", "--activate-when-verified", "--json", *here)
    (found,) = report(run)["plans"]
    assert (run.exit_code, found["status"], found["previous"]) == (1, "rejected", old.name)
    assert "liver Dice" in found["reason"]
    assert store.find(old.name).state is State.ACTIVE


def test_a_build_that_fails_is_reported_and_the_other_architectures_go_on(
    hepar, builds, here, monkeypatch
):
    build = module.build_in_process

    def fails_once(request):
        if request.key.architecture == "sm86":
            raise BuildFailed("no space left")
        return build(request)

    monkeypatch.setattr(module, "build_in_process", fails_once)
    both = "-a", "sm86", "-a", "sm89"
    run = hepar("rebuild", *both, "--activate-when-verified", "--json", *here)
    assert run.exit_code == 1
    statuses = {each["architecture"]: each["status"] for each in report(run)["plans"]}
    assert statuses == {"sm86": "failed", "sm89": "activated"}
    assert report(run)["plans"][0]["reason"] == "no space left"


def test_a_gpu_without_memory_gives_no_verdict_and_activates_nothing(
    hepar, builds, here, gpu, store
):
    gpu.limit = 1000
    run = hepar("rebuild", "--all", "--activate-when-verified", "--json", *here)
    (found,) = report(run)["plans"]
    assert (run.exit_code, found["status"]) == (1, "failed")
    assert [plan.state for plan in store.plans()] == [State.BUILT]


def test_where_there_is_no_gpu_the_report_says_so(hepar, builds, here, monkeypatch):
    def absent():
        raise LibraryMissing("no NVIDIA GPU can be used here")

    monkeypatch.setattr(cuda, "cuda_runtime", absent)
    run = hepar("rebuild", "--all", "--json", *here)
    assert run.exit_code == 1
    assert report(run) == {"plans": [], "error": "no NVIDIA GPU can be used here"}
    assert isinstance(hepar("rebuild", "--all", *here).exception, LibraryMissing)


@pytest.mark.parametrize("options", [(), ("--all", "-a", "sm89")])
def test_either_all_or_named_architectures_are_asked_for(hepar, builds, here, options):
    run = hepar("rebuild", *options, *here)
    assert run.exit_code == 2
    assert "give either --all or --architecture" in " ".join(run.output.replace("│", " ").split())
