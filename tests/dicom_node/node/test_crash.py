"""The spool after the receiver was killed while instances came in."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt

from dicom_node.errors import StoreStatus
from dicom_node.net.reactor import install_reactor_pause
from dicom_node.receive.spool import Spool

RECEIVER = """
import sys, time
from pathlib import Path
from dicom_node.receive.scp import listen
from dicom_node.receive.spool import Spool
server = listen("TEST", ("127.0.0.1", 0), Spool(Path(sys.argv[1])))
print(server.socket.getsockname()[1], flush=True)
time.sleep(60)
"""


@pytest.fixture
def receiver(tmp_path):
    """A receiver in a process of its own: (process, port, spool folder)."""
    folder = tmp_path / "spool"
    with subprocess.Popen(
        [sys.executable, "-c", RECEIVER, folder], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process, int(process.stdout.readline()), folder
        process.kill()


def send_until_it_dies(port, instances, process, after):
    """Kill the receiver soon after so many answers; return the instances answered with success."""
    ae = AE()
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    handlers = [(evt.EVT_CONN_OPEN, install_reactor_pause)]
    association = ae.associate("127.0.0.1", port, evt_handlers=handlers)
    killer = threading.Timer(0.004, os.kill, (process.pid, signal.SIGKILL))
    safe = []
    with association.dul.socket.socket:  # pynetdicom would not close it when the peer has gone
        for number, instance in enumerate(instances):
            if number == after:
                killer.start()
            if not association.is_established:
                break
            if association.send_c_store(instance).get("Status") == StoreStatus.SUCCESS:
                safe.append(instance.SOPInstanceUID)
        process.wait()
    return safe


def test_after_kill_9_there_are_whole_files_of_all_that_was_answered(receiver, ct_series):
    process, port, folder = receiver
    instances = ct_series(slices=60, rows=256, columns=256)
    safe = send_until_it_dies(port, instances, process, after=8)
    assert 8 <= len(safe) < 60

    spool = Spool(folder)
    spool.recover()
    assert list(folder.rglob("*.part")) == []
    (series,) = spool.series()
    kept = {dcmread(path).SOPInstanceUID: dcmread(path) for path in spool.paths(series)}
    assert set(safe) <= set(kept)
    for instance in instances:
        if instance.SOPInstanceUID in kept:
            assert kept[instance.SOPInstanceUID].PixelData == instance.PixelData
