"""What a command's option may be, by name, without what takes seconds to import."""

from enum import StrEnum


class DeviceName(StrEnum):
    """What to run a model on."""

    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"
    TENSORRT = "tensorrt"


class TrainingPrecision(StrEnum):
    """What training computes in, as Lightning names it."""

    BF16_MIXED = "bf16-mixed"
    FLOAT16_MIXED = "16-mixed"
    BF16 = "bf16-true"
    FLOAT32 = "32-true"
    FLOAT64 = "64-true"


class ExportPrecision(StrEnum):
    """What the members of an exported model compute in."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
