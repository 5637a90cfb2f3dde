"""The life of plans, as an administrator sees it; built for real, run on a GPU of plain memory."""

import json
from datetime import timedelta

import numpy as np
import pytest

from engine.admin import table
from engine.admin.table import age
from engine.devices.tensorrt import cuda
from engine.devices.tensorrt import plan_device as tensorrt
from engine.devices.tensorrt.library import Library, load_tensorrt
from engine.errors import (
    BrokenPlan,
    DeviceOutOfMemory,
    LibraryMissing,
    ModelNotFound,
    StalePlan,
    UnknownPlan,
    UnverifiedPlan,
)
from engine.plans.key import Flavour, Options
from engine.plans.store import PlanStore
from engine.serving.fleet import Fleet, openers
from tests.engine.devices.fake_gpu import FakeContext, fake_tensorrt
from tests.engine.plans.convolution_model import write_convolution_model

QUICK = "--batch", 2, "--usual", 64, "--largest", 128, "--level", 0


@pytest.fixture
def here(store, toy):
    """The options that name this test's plans and model."""
    return "--plans", store.folder, "--model", toy.folder


def test_plans_are_built_listed_and_not_built_twice(hepar, tmp_path):
    try:
        load_tensorrt(Flavour.RTX)
    except LibraryMissing as error:
        pytest.skip(str(error))
    model = write_convolution_model(tmp_path / "small")
    here = "--plans", tmp_path / "plans", "--model", model
    build = "build", "-a", "sm86", "-a", "sm120", "--flavour", "tensorrt_rtx", *QUICK, *here
    built = hepar(*build)
    assert built.exit_code == 0, built.output
    assert "there is no plan for sm86 yet" in built.output
    assert built.output.count("\nbuilt sm") == 2
    assert hepar(*build).output.count("there is a usable plan") == 2
    assert [each["built"] for each in json.loads(hepar(*build, "--json").stdout)] == [False, False]
    listed = hepar("list", *here).output
    assert listed.count("not verified yet") == 2
    (model / "model.json").write_text((model / "model.json").read_text() + "\n")
    assert "stale: built for model" in hepar("list", *here).output
    assert hepar("prune", *here).output.count("removed sm") == 2
    assert PlanStore(tmp_path / "plans").plans() == []


def test_real_plans_are_built_gated_activated_rolled_back_and_pruned(
    hepar, gpu, toy, store, monkeypatch
):
    """Only what runs them is not real: they are for the GPU of plain memory, which is an sm89."""
    try:
        rtx = load_tensorrt(Flavour.RTX)
    except LibraryMissing as error:
        pytest.skip(str(error))
    library = Library(Flavour.RTX, rtx.version, fake_tensorrt)
    monkeypatch.setattr(tensorrt, "load_tensorrt", lambda flavour: library)
    here = "--plans", store.folder, "--model", toy.folder
    build = "build", "--flavour", "tensorrt_rtx", "--precision", "float32", *QUICK[2:], *here
    for batch in (2, 3):
        built = hepar(*build, "--batch", batch)
        assert "built sm89-tensorrt_rtx" in built.output, built.exception
    two, three = store.plans()
    assert {store.load(plan)[:4] for plan in (two, three)} == {b"vtrt"}
    assert "there is a usable plan" in hepar(*build, "--batch", 2).output
    assert "--force" in (again := hepar(*build, "--batch", 2, "--force").output)
    assert "built sm89" in again
    for plan in (two, three):
        assert hepar("verify", plan.name, *here).exit_code == 0
        assert hepar("activate", plan.name, *here[:2]).exit_code == 0
    serving = Fleet(openers(toy, store.folder, threads=1))
    assert serving.device().name == f"TensorRT {three.name}"
    assert hepar("rollback", *here[:2]).output == f"active: {two.name}\n"
    assert serving.device().name == f"TensorRT {two.name}"
    assert hepar("prune", "--all", *here).exit_code == 0
    assert {plan.name for plan in store.plans()} == {two.name, three.name}


def test_where_no_plan_is_active_the_list_says_that_another_device_serves(
    hepar, gpu, keep, toy, here
):
    keep(b"engine", model=toy.digest)
    listed = " ".join(hepar("list", *here).output.split())
    assert "No plan is active for Fake (sm89): torch or OpenVINO serves." in listed


def test_a_plan_is_verified_activated_and_rolled_back(hepar, gpu, keep, toy, here, store):
    both = [
        keep(content, model=toy.digest, options=Options(batch=3))
        for content in (b"engine 1", b"engine 2")
    ]
    for plan in both:
        assert isinstance(hepar("activate", plan.name, *here[:2]).exception, UnverifiedPlan)
        verified = hepar("verify", plan.name[-8:], *here)
        assert "liver Dice 1.0000" in verified.output, verified.exception
        assert hepar("activate", plan.name[-8:], *here[:2]).output == f"active: {plan.name}\n"
    listed = hepar("list", *here).output
    said = " ".join(listed.replace("│", " ").split())
    assert "0.000% of pixels differ" in said
    assert "agreement off by 0.0000" in said
    assert "previous" in listed
    assert f"Fake (sm89) serves with {both[1].name}." in listed
    values = json.loads(hepar("list", "--json", *here).output)
    assert values["serves"] == f"Fake (sm89) serves with {both[1].name}."
    assert {each["name"]: each["state"] for each in values["plans"]} == {
        both[0].name: "previous",
        both[1].name: "active",
    }
    assert [each["stale"] for each in values["plans"]] == [[], []]
    assert hepar("rollback", *here[:2]).output == f"active: {both[0].name}\n"
    assert store.active(both[0].key.slot).name == both[0].name


def test_what_an_action_on_plans_did_is_printed_as_json(hepar, gpu, keep, toy, here, store):
    def told(*words):
        return json.loads(hepar(*words, "--json").stdout)

    first, second = (
        keep(content, model=toy.digest, options=Options(batch=3))
        for content in (b"engine 1", b"engine 2")
    )
    for plan in (first, second):
        verified = told("verify", plan.name, *here)
        assert (verified["name"], verified["state"]) == (plan.name, "verified")
        assert told("activate", plan.name, *here[:2]) == {"active": plan.name}
    assert told("rollback", *here[:2]) == {"active": first.name}
    other = keep(b"engine 3", model="b" * 64)
    assert told("prune", *here) == {"removed": [other.name], "bytes": other.manifest.size}


def test_a_plan_that_answers_wrongly_is_rejected_kept_and_never_serves(
    hepar,
    gpu,
    keep,
    toy,
    here,
    store,
    monkeypatch,
):
    plan = keep(b"engine", model=toy.digest, options=Options(batch=3))
    wrong = tensorrt.TensorRt.run
    monkeypatch.setattr(
        tensorrt.TensorRt, "run", lambda self, hu, spacing: wrong(self, hu + 60, spacing)
    )
    assert isinstance(hepar("verify", plan.name, *here).exception, UnverifiedPlan)
    listed = hepar("list", *here).output
    assert "rejected" in listed
    assert "Dice" in listed
    assert isinstance(hepar("activate", plan.name, *here[:2]).exception, UnverifiedPlan)
    assert hepar("list", *here).output.count("rejected") == 1
    hepar("prune", *here)
    assert store.plans() == []


def test_a_gpu_without_memory_gives_no_verdict(hepar, gpu, keep, toy, here, store):
    plan = keep(b"engine", model=toy.digest, options=Options(batch=3))
    gpu.limit = 1000
    assert isinstance(hepar("verify", plan.name, *here).exception, DeviceOutOfMemory)
    assert store.find(plan.name).manifest.check is None


def test_a_large_plan_is_checked_at_the_batch_sizes_that_may_be_computed(
    hepar, gpu, keep, toy, here, store
):
    plan = keep(b"engine", model=toy.digest, options=Options(batch=24))
    assert hepar("verify", plan.name, *here).exit_code == 0
    assert store.find(plan.name).manifest.check.batches == (*range(1, 9), 12, 16, 24)


def test_a_plan_that_is_wrong_at_one_number_of_slices_only_is_rejected(
    hepar, gpu, keep, toy, here, monkeypatch
):
    """Each number is computed as such, and none is filled up to the largest."""
    plan = keep(b"engine", model=toy.digest, options=Options(batch=4))
    whole = FakeContext.compute

    def wrong_at_three(context):
        whole(context)
        if context.shape[0] == 3:
            context.at("labels", context.shape, np.uint8)[:] = 1

    monkeypatch.setattr(FakeContext, "compute", wrong_at_three)
    refused = hepar("verify", plan.name, *here).exception
    assert isinstance(refused, UnverifiedPlan)
    assert "batch 3: " in str(refused)
    assert "batch 4: " not in str(refused)


def test_plans_of_others_and_broken_ones_are_not_verified(hepar, gpu, keep, toy, here):
    foreign = keep(b"engine", model=toy.digest, architecture="sm120")
    broken = keep(b"engine 2", model=toy.digest)
    broken.path.write_bytes(b"engine 3")
    assert isinstance(hepar("verify", foreign.name, *here).exception, StalePlan)
    assert isinstance(hepar("verify", broken.name, *here).exception, BrokenPlan)


def test_where_there_is_no_gpu_it_is_said(hepar, keep, toy, here, monkeypatch):
    def absent():
        raise LibraryMissing("no NVIDIA GPU can be used here")

    monkeypatch.setattr(cuda, "cuda_runtime", absent)
    plan = keep(b"engine", model=toy.digest)
    assert "No plan can serve here (no NVIDIA GPU" in hepar("list", *here).output
    assert isinstance(hepar("verify", plan.name, *here).exception, LibraryMissing)


def test_nothing_to_go_back_to_and_nothing_to_find_is_said(hepar, here, tmp_path):
    assert isinstance(hepar("rollback", *here[:2]).exception, UnknownPlan)
    assert isinstance(hepar("activate", "nonesuch", *here[:2]).exception, UnknownPlan)
    assert isinstance(hepar("list", "--model", tmp_path).exception, ModelNotFound)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (("-a", "9.0"), "architecture: String should match"),
        (("-a", "sm89", "--usual", 900, "--largest", 800), "usual 900 exceeds largest 800"),
        (
            ("-a", "sm89", "--precision", "int4"),
            "'int4' is not one of 'float32', 'float16', 'int8'",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused_before_building(hepar, here, wrong, complaint):
    try:
        load_tensorrt(Flavour.RTX)
    except LibraryMissing as error:
        pytest.skip(str(error))
    refused = hepar("build", *wrong, *here)
    assert refused.exit_code == 2
    assert complaint in " ".join(refused.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        (timedelta(seconds=30), "0 min"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(hours=23, minutes=59), "23 h"),
        (timedelta(days=3, hours=5), "3 d"),
    ],
)
def test_the_age_of_a_plan_is_in_its_largest_unit(ago, shown):
    assert age(ago) == shown


def test_an_active_plan_that_is_stale_is_named_with_the_reason_and_the_remedy(
    hepar, gpu, keep, toy, here, store, monkeypatch
):
    plan = keep(b"engine", passed=True, model=toy.digest, version="1.6")
    store.activate(plan.name)
    library = Library(Flavour.RTX, "1.7.1.116", fake_tensorrt)
    monkeypatch.setattr(table, "load_tensorrt", lambda flavour: library)
    listed = " ".join(hepar("list", *here).output.split())
    assert f"{plan.name} is active for Fake (sm89) but stale" in listed
    assert "built by tensorrt_rtx 1.6, installed is 1.7.1.116" in listed
    assert "hepar engine rebuild --all --activate-when-verified" in listed
    assert " 0 min " in listed


def test_a_manifest_that_cannot_be_read_is_shown(hepar, keep, toy, here, store):
    keep(b"engine", model=toy.digest)
    (store.folder / "odd.json").write_text("{")
    assert "cannot be read" in hepar("list", *here).output


@pytest.mark.parametrize(
    "command",
    ["build", "rebuild", "list", "verify", "activate", "rollback", "prune", "doctor", "bench"],
)
def test_every_command_explains_itself(hepar, command):
    assert "--plans" in hepar(command, "--help").output
