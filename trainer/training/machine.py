"""The machine that trains: accelerator, precision, and who makes the batches."""

from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

from trainer.errors import BadMachine

FAST_BF16 = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
"""Instructions of a processor for bfloat16; without any of them it is emulated, and one step of
`base` takes some hundred times as long."""


@dataclass(frozen=True)
class Machine:
    """Accelerator and precision of training, as Lightning names them."""

    accelerator: str = "auto"
    devices: int | str = "auto"
    nodes: int = 1
    precision: str | None = None
    """None: `usual_precision`."""
    workers: int = 0
    """Processes that make batches on the host; with 0 the training process makes them itself, on
    the device that learns."""
    quiet: bool = False
    """No progress bar."""
    compiled: bool = False
    """Compile networks by torch.compile, on a CUDA GPU."""

    @property
    def on_cuda(self) -> bool:
        """Whether an NVIDIA GPU trains."""
        return self.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


HERE = Machine()
"""Whatever this machine has."""


def require_accelerator(machine: Machine) -> None:
    """Refuse an accelerator that is not there.

    Raises:
        BadMachine: it is not, or networks are to be compiled for one that is not.
    """
    if machine.on_cuda:
        return
    remedy = "install the NVIDIA driver and a torch with CUDA, or leave the option out"
    for asked, option in (
        (machine.accelerator == "cuda", "--device cuda"),
        (machine.compiled, "--compile"),
    ):
        if asked:
            raise BadMachine(
                f"{option} needs a CUDA device, and torch {torch.__version__} finds none: {remedy}"
            )


def usual_precision(machine: Machine) -> str:
    """Return the precision that pays: bfloat16 where it is computed, not emulated."""
    if machine.on_cuda:
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if fast else "16-mixed"
    if machine.accelerator == "cpu" or not torch.accelerator.is_available():
        # torch before 2.13 does not list them.
        here: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return "bf16-mixed" if any(here.get(each) for each in FAST_BF16) else "32-true"
    return "bf16-mixed"


def is_first() -> bool:
    """Return whether this process has rank 0 of those that train together."""
    # Absent, or 0, in a run of one process.
    return int(getattr(rank_zero_only, "rank", 0)) == 0
