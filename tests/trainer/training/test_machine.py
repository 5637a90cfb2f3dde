"""What trains: chosen by what there is, refused by name where it is not."""

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from tests.trainer.training.test_loop import QUICK
from trainer.batches.data_loader import Batches, Looks
from trainer.errors import BadMachine
from trainer.training import loop
from trainer.training.lightning_module import Learner
from trainer.training.machine import Machine, require_accelerator, usual_precision

ONLY_CPU = pytest.mark.skipif(torch.accelerator.is_available(), reason="for a machine without one")


@ONLY_CPU
@pytest.mark.parametrize(
    ("machine", "option"),
    [(Machine("cuda"), "--device cuda"), (Machine(compiled=True), "--compile")],
)
def test_what_is_not_there_is_refused_with_a_remedy(machine, option):
    with pytest.raises(BadMachine, match=f"{option} needs a CUDA device.* install the NVIDIA"):
        require_accelerator(machine)


def test_what_is_there_is_not_refused():
    require_accelerator(Machine())
    require_accelerator(Machine("cpu"))


@pytest.mark.parametrize(
    ("has", "precision"),
    [({}, "32-true"), ({"avx512_bf16": True}, "bf16-mixed"), ({"amx_bf16": False}, "32-true")],
)
def test_a_processor_computes_in_bfloat16_where_it_has_it(monkeypatch, has, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert usual_precision(Machine("cpu")) == precision


def emulated_everywhere(has):
    """As torch answers: by default an emulated bfloat16, slower than float32, is supported too."""
    return lambda including_emulation=True: has or including_emulation


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16-mixed"), (False, "16-mixed")])
def test_a_gpu_computes_in_bfloat16_where_it_has_it(monkeypatch, has, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", emulated_everywhere(has))
    assert usual_precision(Machine()) == usual_precision(Machine("cuda")) == precision
    require_accelerator(Machine("cuda", compiled=True))


META = torch.device("meta")
"""Stands for a GPU."""


class Seen(Exception):
    """Ends a training that has begun to make its batches."""


@pytest.mark.parametrize(("workers", "place"), [(0, "device"), (2, "host")])
def test_batches_are_made_where_it_is_trained_unless_workers_make_them(
    tiny_recipe, tmp_path, monkeypatch, workers, place
):
    def note(self, recipe, seed, slices, place):
        raise Seen(place)

    monkeypatch.setattr(Batches, "__init__", note)
    monkeypatch.setattr(loop, "HOST", "host")
    machine = Machine("cpu", workers=workers, quiet=True)
    with pytest.raises(Seen) as seen:
        loop.train_member(tiny_recipe, tiny_recipe.members[1], [], [], tmp_path, machine)
    assert str(seen.value) == {"device": "cpu", "host": "host"}[place]
    assert QUICK.workers == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_slices_that_are_judged_lie_where_it_is_trained(
    tiny_recipe, tmp_path, monkeypatch, workers
):
    def note(self, recipe, slices, place):
        raise Seen(place)

    monkeypatch.setattr(Batches, "__init__", lambda *_: None)
    monkeypatch.setattr(Looks, "__init__", note)
    # The strategy's device, made another than the host's.
    monkeypatch.setattr(SingleDeviceStrategy, "root_device", META)
    machine = Machine("cpu", workers=workers, quiet=True)
    with pytest.raises(Seen, match="meta"):
        loop.train_member(tiny_recipe, tiny_recipe.members[1], [], [], tmp_path, machine)


def test_a_network_is_compiled_in_place_only_if_asked_for(tiny_recipe, monkeypatch):
    made = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: made.append(self))
    member = tiny_recipe.members[1]
    plain, compiled = (Learner(tiny_recipe, member, 0, compiled=each) for each in (False, True))
    for learner in (plain, compiled):
        learner.on_fit_start()
    assert made == [compiled.network]
