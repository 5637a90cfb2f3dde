"""The libraries of the devices call nobody."""

import subprocess
import sys

PROGRAM = """
import urllib.request
def refuse(*args, **kwargs):
    raise AssertionError("a library calls somebody")
urllib.request.urlopen = refuse
import engine.devices.openvino_cpu
import openvino.tools.ovc.telemetry_utils as utils
print(utils.tm.__name__)
"""


def test_openvino_leaves_its_telemetry_out(tmp_path):
    # CI in the environment would make OpenVINO quiet by itself.
    environment = {"HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
    assert list(tmp_path.iterdir()) == []  # otherwise ~/intel with an identifier of this user
