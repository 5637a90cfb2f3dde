"""Devices that run a model, one module for each library."""

import sys

# OpenVINO reports each import to Google Analytics by its package openvino_telemetry, unasked, and
# waits up to 3 s for the answer; a node in a hospital calls nobody. None lets the import of that
# package fail, and OpenVINO takes the stub that it has for machines without it.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
