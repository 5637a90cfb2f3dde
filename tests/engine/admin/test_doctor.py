import pytest

from engine.admin import doctor
from engine.admin.doctor import Health, examine
from engine.devices.tensorrt import cuda
from engine.errors import LibraryMissing
from engine.plans.serving import SERVING
from tests.engine.plans.factories import make_check


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    def absent():
        raise LibraryMissing("no NVIDIA GPU here")

    monkeypatch.setattr(cuda, "cuda_runtime", absent)


def found(model, plans):
    return {each.what: each for each in examine(model, plans, quick=True)}


def test_a_node_without_a_gpu_is_in_good_health(toy, store):
    seen = found(toy.folder, store.folder)
    assert seen["model"].health is seen["processor"].health is Health.GOOD
    assert seen["GPU"].health is Health.UNUSED
    assert "0.000% of the reference's pixels differ" in seen["processor"].text


def test_torch_is_examined_where_the_model_has_a_program_for_it(store, tmp_path):
    torch = pytest.importorskip("torch", reason="torch comes with the extra `trainer`")
    from tests.engine.toy_program import write_toy_with_program

    seen = found(write_toy_with_program(tmp_path / "toy"), store.folder)["torch"]
    if torch.accelerator.is_available():
        assert seen.health is Health.GOOD
    else:
        assert (seen.health, "no accelerator" in seen.text) == (Health.UNUSED, True)


def test_where_a_plan_should_serve_the_missing_gpu_is_bad(toy, store, keep):
    store.activate(keep(b"engine", passed=True, model=toy.digest).name)
    assert found(toy.folder, store.folder)["GPU"].health is Health.BAD


def test_an_active_plan_for_another_model_is_bad_and_an_idle_one_is_not(toy, store, keep):
    plan = keep(b"engine", passed=True)
    assert found(toy.folder, store.folder)["plan"].health is Health.GOOD
    store.activate(plan.name)
    seen = found(toy.folder, store.folder)["plan"]
    assert seen.health is Health.BAD
    assert "built for model aaaaaaaaaaaa" in seen.text


def test_an_active_plan_that_was_rejected_since_is_bad(toy, store, keep):
    plan = keep(b"engine", passed=True, model=toy.digest)
    store.activate(plan.name)
    store.record_check(plan, make_check(passed=False))
    assert found(toy.folder, store.folder)["plan"].health is Health.BAD


def test_a_broken_plan_is_bad_with_what_would_do(toy, store, keep):
    keep(b"engine").path.write_bytes(b"engin")
    seen = found(toy.folder, store.folder)["plan"]
    assert (seen.health, "build it again" in seen.text) == (Health.BAD, True)


def test_a_broken_list_of_active_plans_is_bad_with_what_would_do(toy, store):
    store.folder.mkdir()
    (store.folder / SERVING).write_text("{")
    seen = found(toy.folder, store.folder)["plans"]
    assert (seen.health, "activate a plan again" in seen.text) == (Health.BAD, True)


def test_a_full_disk_is_bad(toy, store, monkeypatch):
    monkeypatch.setattr(doctor, "ROOM_MB", 1 << 40)
    assert found(toy.folder, store.folder)["disk"].health is Health.BAD


def test_a_broken_model_ends_the_examination(toy_folder, store):
    (toy_folder / "ensemble.onnx").unlink()
    (only,) = examine(toy_folder, store.folder)
    assert (only.what, only.health) == ("model", Health.BAD)


def test_the_command_shows_everything_and_ends_by_what_it_found(hepar, toy, toy_folder, store):
    good = hepar("doctor", "--model", toy.folder, "--plans", store.folder)
    assert good.exit_code == 0, good.output
    assert "OpenVINO CPU" in good.output
    assert "phantom" in good.output
    (toy_folder / "reference.npz").unlink()
    bad = hepar("doctor", "--model", toy_folder, "--plans", store.folder)
    assert (bad.exit_code, "cannot read reference.npz" in bad.output) == (1, True)
