"""Power cuts at random moments of a node's work: what was not synced is gone, no promise is broken.

A few in the suite; `HEPAR_CUTS=200` tries more, as `make soak` does.
"""

import hashlib
import os
import random
from collections import defaultdict
from contextlib import suppress
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import SegmentationStorage
from pynetdicom import AE, evt

from dicom_node.errors import NodeError
from dicom_node.jobs.state import State
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.node_process import NodeProcess
from tests.power_cut.disk import Cut
from tests.power_cut.powered import Powered, why_not
from tests.waiting import wait_until

CUTS = int(os.environ.get("HEPAR_CUTS", "2"))
SEED = int(os.environ.get("HEPAR_CUTS_SEED", "15"))
SLICES = 6
CHANGES = 1200
"""Changes of the disk from the start of a node to the end of its series, about."""


class Archive:
    """An archive beside the power cuts; it keeps a digest of each content of each instance."""

    def __init__(self):
        self.contents = defaultdict(set)
        self.referenced = defaultdict(set)
        entity = AE("ARCHIVE")
        entity.add_supported_context(SegmentationStorage)
        handlers = [(evt.EVT_C_STORE, self._keep)]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.peer = {
            "kind": "store",
            "ae_title": "ARCHIVE",
            "host": "127.0.0.1",
            "port": self.server.server_address[1],
        }

    def _keep(self, event):
        part10 = event.encoded_dataset()
        seg = dcmread(BytesIO(part10))
        (series,) = seg.ReferencedSeriesSequence
        self.contents[seg.SOPInstanceUID].add(hashlib.sha256(bytes(seg.PixelData)).hexdigest())
        self.referenced[series.SeriesInstanceUID].add(len(series.ReferencedInstanceSequence))
        return 0x0000


@pytest.fixture
def archive():
    archive = Archive()
    yield archive
    archive.server.shutdown()


@pytest.fixture
def powered(tmp_path):
    if reason := why_not():
        pytest.skip(reason)
    with Powered(tmp_path / "disk") as powered:
        yield powered


def test_no_power_cut_breaks_a_promise(powered, archive, tmp_path):
    chance = random.Random(SEED)
    node = NodeProcess(
        tmp_path,
        data=powered.folder / "data",
        peers={"archive": archive.peer},
        jobs={"first_pause_s": 0.1, "longest_pause_s": 0.5},
    )
    node.start()
    answered, waiting, series = {}, {}, set()
    for number in range(CUTS + 1):
        files = write_series(_phantom(), f"cut {number}", tmp_path / str(number))
        series.add(dcmread(files[0]).SeriesInstanceUID)
        waiting |= {dcmread(path).SOPInstanceUID: path for path in files}
        if number < CUTS:
            cut = Cut(_some_of(chance), _some_of(chance), chance.randrange(1 << 30))
            powered.plan(cut, chance.randint(1, CHANGES))
        with suppress(NodeError, OSError):
            _send(node, waiting, answered)
            wait_until(lambda: _ended(node, series))
        if number < CUTS:
            _cut(powered, node, cut)
            _require_kept(node.data, answered)
            node.start()
    assert not waiting
    assert all(len(contents) == 1 for contents in archive.contents.values())
    assert {uid: max(counts) for uid, counts in archive.referenced.items()} == dict.fromkeys(
        series, SLICES
    )
    node.stop()


def _phantom():
    return make_phantom(shape=(SLICES, 40, 40), spacing_mm=(25, 9, 9), noise_hu=2, tumours=0)


def _some_of(chance):
    return chance.choice(["none", "some", "all"])


def _send(node, waiting, answered):
    """Send what was not answered with success; an instance answered with another status waits."""
    for uid, path in list(waiting.items()):
        node.peer.send(path)
        answered[uid] = dcmread(path)
        del waiting[uid]


def _ended(node, series):
    """Return whether the newest job of every series is done; raises once the power is cut."""
    node.data.stat()
    newest = {job.series_uid: job.state for job in node.jobs()}
    return set(newest) == series and set(newest.values()) == {State.DONE}


def _cut(powered, node, cut):
    """Cut the power unless it has been, end the node with it, and show what is left."""
    powered.cut(cut)
    powered.wait_for_cut()
    node.process.kill()
    node.process.join()
    powered.restore()


def _require_kept(data, answered):
    """Fail if an instance that was answered with success is gone or differs."""
    found = {path.stem: path for path in (data / "spool").rglob("*.dcm")}
    assert set(answered) - set(found) == set()
    assert [uid for uid, sent in answered.items() if dcmread(found[uid]) != sent] == []
