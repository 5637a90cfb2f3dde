import multiprocessing
import signal
import threading

import pytest

from engine.durable_files import write_durably
from engine.errors import BrokenPlan, BuildInProgress, UnknownPlan, UnverifiedPlan
from engine.plans.plan import State
from engine.plans.store import PlanStore
from tests.engine.plans.factories import make_check, make_key, make_manifest
from tests.engine.plans.killed_build import build_until_killed


def states(store):
    return [plan.state for plan in store.plans()]


def test_a_plan_that_was_kept_is_found_as_it_was(store, keep):
    plan = keep(b"engine")
    assert store.load(plan) == b"engine"
    assert PlanStore(store.folder).plans() == [plan]
    assert (plan.state, plan.key) == (State.BUILT, make_key())


def test_two_builds_of_one_key_are_two_plans(store, keep):
    assert keep(b"one").name != keep(b"two").name
    assert len(store.plans()) == 2


def test_a_plan_is_called_by_the_beginning_or_the_end_of_its_name(store, keep):
    plan = keep(b"one")
    assert store.find(plan.name[:9]) == store.find(plan.name[-8:]) == plan
    keep(b"two")
    with pytest.raises(UnknownPlan, match="2 plans"):
        store.find(plan.name[:9])
    with pytest.raises(UnknownPlan, match="no plans"):
        store.find("nonesuch")


def test_the_states_follow_one_another(store, keep):
    first, second = keep(b"one", passed=True), keep(b"two", passed=True)
    keep(b"three", passed=False)
    assert states(store) == [State.VERIFIED, State.VERIFIED, State.REJECTED]
    store.activate(first.name)
    store.activate(second.name)
    assert states(store) == [State.PREVIOUS, State.ACTIVE, State.REJECTED]
    store.rollback(make_key().slot)
    assert states(store) == [State.ACTIVE, State.PREVIOUS, State.REJECTED]
    store.rollback(make_key().slot)
    assert states(store) == [State.PREVIOUS, State.ACTIVE, State.REJECTED]


def test_activating_what_is_active_keeps_the_way_back(store, keep):
    first, second = keep(b"one", passed=True), keep(b"two", passed=True)
    for name in (first.name, second.name, second.name):
        store.activate(name)
    assert store.rollback(make_key().slot).name == first.name


def test_plans_for_several_gpus_serve_side_by_side(store, keep):
    here, there = keep(b"one", passed=True), keep(b"two", passed=True, architecture="sm86")
    store.activate(here.name)
    store.activate(there.name)
    assert store.active(here.key.slot) == store.find(here.name)
    assert store.active(there.key.slot) == store.find(there.name)
    assert store.active(make_key(architecture="sm120").slot) is None


@pytest.mark.parametrize("passed", [None, False])
def test_a_plan_that_has_not_passed_never_serves(store, keep, passed):
    plan = keep(b"one", passed=passed)
    with pytest.raises(
        UnverifiedPlan,
        match="rejected: batch 1: liver" if passed is False else "never held against the reference",
    ):
        store.activate(plan.name)
    assert store.slots() == {}


def test_going_back_without_a_way_back_is_refused(store, keep):
    store.activate(keep(b"one", passed=True).name)
    with pytest.raises(UnknownPlan, match="no plan served sm89-aaaaaaaaaaaa before"):
        store.rollback(make_key().slot)


def test_going_back_to_a_plan_that_was_rejected_since_is_refused(store, keep):
    first, second = keep(b"one", passed=True), keep(b"two", passed=True)
    for plan in (first, second):
        store.activate(plan.name)
    store.record_check(first, make_check(passed=False))
    with pytest.raises(UnverifiedPlan, match="was rejected: batch 1: liver"):
        store.rollback(make_key().slot)
    assert store.active(make_key().slot).name == second.name


def test_a_manifest_is_written_only_when_its_plan_is_on_disk(store, monkeypatch):
    written = []

    def noted(path, content, **options):
        written.append(path.suffix)
        write_durably(path, content, **options)

    monkeypatch.setattr("engine.plans.store.write_durably", noted)
    with store.building():
        store.keep(make_manifest(b"one"), b"one")
    assert written == [".plan", ".json"]


def test_plans_can_be_read_by_another_user_than_the_one_who_built_them(store, keep):
    store.activate(keep(b"one", passed=True).name)
    paths = [*store.folder.glob("*.plan"), *store.folder.glob("*.json")]
    assert len(paths) == 3  # the plan, its manifest, and which plans serve
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in paths} == {
        path.name: "0o644" for path in paths
    }


def spoil(path, how):
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    else:
        path.unlink()


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("cut", "has 3 bytes, its manifest says 6"),
        ("flipped", "not what was built: SHA-256"),
        ("gone", "cannot read"),
    ],
)
def test_a_plan_of_other_bytes_is_neither_loaded_nor_activated(store, keep, how, complaint):
    plan = keep(b"engine", passed=True)
    spoil(plan.path, how)
    for use in (lambda: store.load(plan), lambda: store.activate(plan.name)):
        with pytest.raises(BrokenPlan, match=complaint):
            use()
    assert store.slots() == {}


def test_a_manifest_that_makes_no_sense_is_named_and_hides_no_other(store, keep):
    good, bad = keep(b"one"), keep(b"two")
    (store.folder / f"{bad.name}.json").write_text("{")
    (store.folder / "other.json").write_bytes((store.folder / f"{good.name}.json").read_bytes())
    assert store.plans() == [good]
    reasons = {path.stem: why for path, why in store.unreadable().items()}
    assert "cannot be read" in reasons[bad.name]
    assert reasons["other"] == f"is the manifest of {good.name}"


def test_pruning_spares_what_serves_and_the_way_back(store, keep):
    plans = [keep(content, passed=True) for content in (b"one", b"two", b"three")]
    store.activate(plans[0].name)
    store.activate(plans[1].name)
    assert [plan.name for plan in store.prune(lambda plan: True)] == [plans[2].name]
    assert len(store.plans()) == 2
    assert not plans[2].path.exists()


def test_pruning_takes_what_was_compiled_of_a_plan_along(store, keep):
    plan = keep(b"one")
    store.kernels_file(plan).write_bytes(b"kernels")
    store.prune(lambda plan: True)
    assert list(store.folder.glob("sm*")) == []


def test_a_plan_is_not_activated_while_it_is_pruned(store, keep):
    plan = keep(b"one", passed=True)
    threads = []

    def activate_meanwhile(_):
        threads.append(threading.Thread(target=activate))
        threads[0].start()
        threads[0].join(0.1)
        return True

    def activate():
        with pytest.raises(UnknownPlan):
            store.activate(plan.name)

    assert store.prune(activate_meanwhile) == [plan]
    threads[0].join()
    assert store.slots() == {}


def test_a_plan_that_is_rejected_while_it_serves_serves_no_more(store, keep):
    plan = keep(b"one", passed=True)
    store.activate(plan.name)
    before = (store.folder / "serving.json").stat()
    store.record_check(plan, make_check(passed=False))
    assert (store.folder / "serving.json").stat().st_ino != before.st_ino  # nodes look again
    with pytest.raises(UnverifiedPlan, match="was rejected"):
        store.active(plan.key.slot)


def test_two_do_not_build_at_once(store):
    with (
        store.building(),
        pytest.raises(BuildInProgress, match="another process builds"),
        PlanStore(store.folder).building(),
    ):
        pass


def test_an_empty_or_absent_folder_has_no_plans(store):
    assert store.plans() == []
    assert store.slots() == {}


@pytest.mark.parametrize(
    "stage", ["while writing", "before the manifest", "while the manifest is written"]
)
def test_a_build_killed_at_any_moment_leaves_no_half_plan(store, keep, stage):
    good = keep(b"good")
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=build_until_killed, args=(store.folder, stage))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert store.plans() == [good]
    with store.building():  # the lock died with its process, and the leftovers go
        assert {path.stem for path in store.folder.glob("*.plan")} == {good.name}
        assert not list(store.folder.glob("*.part"))


def test_a_full_disk_leaves_no_half_plan(store, keep, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    good = keep(b"good")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"), store.building():
        store.keep(make_manifest(b"big"), b"big")
    assert store.plans() == [good]
    assert {path.name for path in store.folder.glob("*.p*")} == {good.path.name}


def test_a_switch_killed_half_way_changes_nothing(store, keep, monkeypatch):
    first, second = keep(b"one", passed=True), keep(b"two", passed=True)
    store.activate(first.name)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", die)
        with pytest.raises(KeyboardInterrupt):
            store.activate(second.name)
    assert store.active(first.key.slot).name == first.name


def test_the_serving_file_that_makes_no_sense_is_named(store, keep):
    keep(b"one")
    (store.folder / "serving.json").write_text('{"slots": 3}')
    with pytest.raises(BrokenPlan, match=r"serving\.json"):
        store.slots()


def test_a_second_verdict_replaces_the_first(store, keep):
    plan = keep(b"one", passed=False)
    assert store.record_check(plan, make_check()).state is State.VERIFIED
