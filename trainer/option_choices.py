"""Choices of command options, without imports that take seconds."""

from enum import StrEnum


class DeviceName(StrEnum):
    """Device that runs a model."""

    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"
    TENSORRT = "tensorrt"


class TrainingDevice(StrEnum):
    """Device that trains, as Lightning names it."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class TrainingPrecision(StrEnum):
    """Precision of training, as Lightning names it."""

    BF16_MIXED = "bf16-mixed"
    FLOAT16_MIXED = "16-mixed"
    BF16 = "bf16-true"
    FLOAT32 = "32-true"
    FLOAT64 = "64-true"


class ExportPrecision(StrEnum):
    """Precision of the members of an exported model."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
