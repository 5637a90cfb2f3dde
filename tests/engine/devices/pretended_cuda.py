"""torch's CUDA on the processor: it notes what is pinned, copied, captured and waited for.

The arithmetic is real; a real GPU is for `-m gpu`.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import torch

from engine.devices import torch_gpu

CUDA = torch.device("cuda")


class PretendedCuda:
    """Takes the place of those functions of torch that need a GPU."""

    def __init__(self, patch):
        self.patch = patch
        self.kept = []
        """Pinned tensors: while they live, no other one has their address."""
        self.sent = []
        """What went to the GPU: tensor, whether pinned, whether the call returned at once."""
        self.events = []
        """Copies into host memory and waits, in their order."""
        self.captured = []
        """Shapes of the graphs, in their order."""
        self.autocasts = []
        self._stand_in()

    def placed(self, device, room=4):
        """Let a device of the processor take itself for one on a GPU."""
        device._place = CUDA
        device.room = device.usual_room = room
        return device

    def is_pinned(self, tensor):
        """Return whether it lies in pinned memory, wholly or as a part of it."""
        storage = tensor.untyped_storage().data_ptr()
        return any(each.untyped_storage().data_ptr() == storage for each in self.kept)

    def _stand_in(self):
        empty, to, copy = torch.empty, torch.Tensor.to, torch.Tensor.copy_
        autocast = torch.autocast

        def pretended_empty(*shape, pin_memory=False, **options):
            made = empty(*shape, **options)
            if pin_memory:
                self.kept.append(made)
            return made

        def pin_memory(tensor):
            self.kept.append(tensor.clone())
            return self.kept[-1]

        def pretended_to(tensor, *arguments, non_blocking=False, **options):
            if arguments[:1] != (CUDA,):
                return to(tensor, *arguments, **options)
            self.sent.append((tensor, self.is_pinned(tensor), non_blocking))
            return tensor.clone()

        def pretended_copy(tensor, source, non_blocking=False):
            if self.is_pinned(tensor):
                self.events.append("queued" if non_blocking else "waited for")
            return copy(tensor, source)

        def capture(run, hu, spacing):
            self.captured.append(tuple(hu.shape))
            return run

        def pretended_autocast(place, *kind, **options):
            if kind:  # without one, autocast is switched off for a product
                self.autocasts.append(options["cache_enabled"])
            return autocast("cpu", *kind, **options)

        stream = SimpleNamespace(synchronize=lambda: self.events.append("end"))
        self.patch.setattr(torch, "empty", pretended_empty)
        self.patch.setattr(torch.Tensor, "pin_memory", pin_memory)
        self.patch.setattr(torch.Tensor, "to", pretended_to)
        self.patch.setattr(torch.Tensor, "copy_", pretended_copy)
        self.patch.setattr(torch.cuda, "current_stream", lambda place: stream)
        self.patch.setattr(torch.cuda, "device", lambda place: nullcontext())
        self.patch.setattr(torch, "autocast", pretended_autocast)
        self.patch.setattr(torch_gpu, "_capture", capture)
