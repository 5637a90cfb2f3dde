"""TensorRT, torch and OpenVINO made to fail at a moment of a job, where all three can serve."""

from contextlib import contextmanager

import pytest
import torch

from engine.devices.openvino_cpu import OpenVino
from engine.devices.tensorrt.plan_device import TensorRt
from engine.devices.torch_gpu import Torch
from engine.errors import DeviceFailed

MOMENTS = "opening", "first call", "mid-volume", "out of memory", "sticky error"
GOOD_CALLS = {"first call": 0, "mid-volume": 1, "out of memory": 0, "sticky error": 1}
NAMES = {"TensorRT": "TensorRT sm89", "torch": "torch cpu", "OpenVINO": "OpenVINO CPU"}


class Breaker:
    """Makes a device fail at a moment: after so many good calls of a job, or when it is opened."""

    def __init__(self, monkeypatch, gpu):
        self.patch, self.gpu, self.armed = monkeypatch, gpu, False

    @contextmanager
    def broken(self, device, moment, error=DeviceFailed):
        """Let a device fail while the block lasts."""
        with pytest.MonkeyPatch.context() as patch:
            Breaker(patch, self.gpu).fail(device, moment, error, self)
            yield

    def fail(self, device, moment, error=DeviceFailed, switch=None):
        if moment == "opening":
            self._fail_to_open(device, error)
            return
        switch = switch or self
        good = GOOD_CALLS[moment]
        error = self._error(device, moment)
        owner, name = {
            "TensorRT": (TensorRt, "_run"),
            "torch": (Torch, "_run"),
            "OpenVINO": (OpenVino, "_fill"),
        }[device]
        whole, calls = getattr(owner, name), []

        def failing(this, *arguments):
            if switch.armed:
                calls.append(this)
                if len(calls) > good:
                    if device == "TensorRT" and moment == "sticky error":
                        self.gpu.broken = True
                    raise error
            return whole(this, *arguments)

        self.patch.setattr(owner, name, failing)

    def _error(self, device, moment):
        from engine.devices.tensorrt.cuda import CudaFailed

        words = f"{moment} made here"
        if device == "TensorRT":
            return CudaFailed(words, out_of_memory=moment == "out of memory")
        if device == "torch" and moment == "out of memory":
            return torch.OutOfMemoryError(words)
        if device == "OpenVINO" and moment == "out of memory":
            return MemoryError(words)  # C++'s std::bad_alloc
        return RuntimeError(words)  # also what torch raises for CUDA's sticky errors

    def _fail_to_open(self, device, error):
        def refused(*arguments, **options):
            raise error("opening made here")

        target = {
            "TensorRT": "engine.devices.tensorrt.plan_device.open_active",
            "torch": "engine.devices.torch_gpu.open_accelerator",
            "OpenVINO": "engine.devices.openvino_cpu.open_openvino",
        }[device]
        self.patch.setattr(target, refused)
