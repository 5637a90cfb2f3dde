"""A decoder may crash, hang or take all memory: one slice is refused, and the next is decoded."""

import os
import signal
import struct
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless

from dicom_node.decoding.decode import decode_frame
from dicom_node.decoding.file_bounds import require_bounded_file
from dicom_node.decoding.process_pool import DecodingPool
from dicom_node.decoding.requests import DecodeFrame, InspectHeader
from dicom_node.decoding.stream import BrokenStream
from tests.dicom_node.decoding.streams import compressed_slice


@dataclass(frozen=True)
class Call(InspectHeader):
    """Runs a function of this module in the process."""

    path: Path = Path()
    does: str = ""

    def run(self):
        return globals()[self.does]()


def answer():
    return os.getpid()


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def leave():
    os._exit(3)


def hang():
    time.sleep(60)


def shorten_the_processor_time():
    sys.modules["__main__"].CPU_S = 1


def compute_without_end():
    while True:
        pass


def take_all_memory():
    return len(np.ones(3 << 30, np.uint8))


def panic():
    class PanicException(BaseException):
        pass

    raise PanicException("Musterfrau^Erika")


@pytest.fixture
def pool():
    made = DecodingPool()
    yield made
    made.close()


def test_a_process_is_used_again(pool):
    assert pool.run(Call(does="answer")) == pool.run(Call(does="answer")) != os.getpid()


@pytest.mark.parametrize(
    ("does", "reason"),
    [("crash", "ended by SIGSEGV"), ("leave", "ended with status 3")],
)
def test_the_death_of_a_process_is_an_error_of_one_request(pool, does, reason):
    before = pool.run(Call(does="answer"))
    with pytest.raises(BrokenStream, match=reason):
        pool.run(Call(does=does))
    assert pool.run(Call(does="answer")) != before


def test_a_process_that_hangs_is_replaced():
    pool = DecodingPool()
    pool.run(Call(does="answer"))
    pool._answer_s = 0.5
    with pytest.raises(BrokenStream, match=r"longer than 0\.5 s"):
        pool.run(Call(does="hang"))
    pool._answer_s = 60
    assert pool.run(Call(does="answer"))
    pool.close()


@dataclass(frozen=True)
class Interrupted(Call):
    """A call whose caller is interrupted while it waits."""

    def receive(self, connection):
        raise KeyboardInterrupt


def test_a_process_whose_caller_is_interrupted_ends(pool, monkeypatch):
    taken, take = [], pool._take

    def taking():
        taken.append(take())
        return taken[-1]

    monkeypatch.setattr(pool, "_take", taking)
    with pytest.raises(KeyboardInterrupt):
        pool.run(Interrupted(does="answer"))
    (process,) = taken
    assert not process.runs
    assert pool.run(Call(does="answer")) != process.pid


def test_processor_time_is_limited_and_no_other_work_on_the_machine_uses_it_up(pool):
    pool.run(Call(does="shorten_the_processor_time"))
    with pytest.raises(BrokenStream, match="more than 30 s of processor time"):
        pool.run(Call(does="compute_without_end"))
    assert pool.run(Call(does="answer"))


def test_memory_is_limited(pool):
    before = pool.run(Call(does="answer"))
    with pytest.raises(BrokenStream, match="more than 2 GB of memory"):
        pool.run(Call(does="take_all_memory"))
    assert pool.run(Call(does="answer")) == before


def test_a_panic_is_no_end_and_its_words_stay_there(pool):
    with pytest.raises(BrokenStream, match=r"decoder failed \(PanicException\)$"):
        pool.run(Call(does="panic"))


def test_signals_for_the_node_do_not_end_a_process(pool):
    before = pool.run(Call(does="answer"))
    os.kill(before, signal.SIGTERM)
    os.kill(before, signal.SIGINT)
    time.sleep(0.2)
    assert pool.run(Call(does="answer")) == before


def test_callers_at_a_time_have_processes_of_their_own(pool):
    both = threading.Barrier(2)
    found = []

    def call():
        process = pool._take()
        both.wait(60)
        found.append(process.call(Call(does="answer"), 60))
        process.stop()

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 2


def test_a_process_that_died_while_idle_is_replaced(pool):
    before = pool.run(Call(does="answer"))
    os.kill(before, signal.SIGKILL)
    time.sleep(0.2)
    assert pool.run(Call(does="answer")) != before


def test_a_death_while_decoding_refuses_the_slice_alone(ct_series, tmp_path, monkeypatch):
    instance = compressed_slice(ct_series, JPEG2000Lossless, tmp_path)
    whole = decode_frame(instance, 0, JPEG2000Lossless)
    pool = DecodingPool()
    monkeypatch.setattr("dicom_node.decoding.decode.pool", pool)
    pool.run(Call(does="answer"))
    with pytest.raises(BrokenStream, match="ended by SIGSEGV"):
        pool.run(Call(does="crash"))
    assert np.array_equal(decode_frame(instance, 0, JPEG2000Lossless), whole)
    pool.close()


def test_the_node_itself_decodes_no_compressed_pixels(ct_series, tmp_path, monkeypatch):
    def in_the_node(request):
        raise AssertionError("decoded in the node")

    # The process has classes of its own, which this does not change.
    monkeypatch.setattr(DecodeFrame, "run", in_the_node)
    instance = compressed_slice(ct_series, JPEG2000Lossless, tmp_path)
    assert np.ptp(decode_frame(instance, 0, JPEG2000Lossless)) > 0


@pytest.fixture
def with_items(ct_series, tmp_path):
    """Write a slice with a sequence of so many empty items in its header."""

    def write(count, undefined_length=False, comment=""):
        (instance,) = ct_series(slices=1)
        instance.PatientComments = comment
        path = tmp_path / "items.dcm"
        instance.save_as(path, enforce_file_format=True)
        content, items = path.read_bytes(), b"\xfe\xff\x00\xe0\0\0\0\0" * count
        length, end = struct.pack("<L", len(items)), b""
        if undefined_length:
            length, end = b"\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0\0\0\0\0"
        at = content.rindex(b"\xe0\x7f\x10\x00")
        sequence = b"\x40\x00\x75\x02SQ\0\0" + length + items + end
        path.write_bytes(content[:at] + sequence + content[at:])
        return path

    return write


@pytest.mark.parametrize("undefined_length", [False, True])
def test_a_header_with_too_many_items_is_refused(with_items, undefined_length):
    path = with_items(101_000, undefined_length)
    with pytest.raises(BrokenStream, match="more than 100000 sequence items"):
        require_bounded_file(path)


PIXEL_DATA = b"\xe0\x7f\x10\x00OW\0\0"


def test_the_tag_of_the_pixels_within_a_value_hides_no_long_header(with_items):
    path = with_items(101_000, comment="X" * len(PIXEL_DATA))
    path.write_bytes(path.read_bytes().replace(b"X" * len(PIXEL_DATA), PIXEL_DATA))
    with pytest.raises(BrokenStream, match="more than 100000 sequence items"):
        require_bounded_file(path)


def test_pixels_at_the_start_hide_no_items_behind_them(with_items):
    path = with_items(101_000)
    content = path.read_bytes()
    at = content.rindex(PIXEL_DATA)
    first = content.index(b"\x08\x00\x16\x00")
    path.write_bytes(content[:first] + content[at:] + content[first:at])
    with pytest.raises(BrokenStream, match="more than 100000 sequence items"):
        require_bounded_file(path)


def test_a_short_header_is_not_sent_there(ct_series, tmp_path, monkeypatch):
    (instance,) = ct_series(slices=1)
    instance.save_as(tmp_path / "short.dcm", enforce_file_format=True)
    monkeypatch.setattr("dicom_node.decoding.file_bounds.pool.run", pytest.fail)
    require_bounded_file(tmp_path / "short.dcm")


def test_a_long_header_without_its_preamble_is_read(ct_series, tmp_path):
    (instance,) = ct_series(slices=1)
    instance.add_new(0x00091001, "OB", bytes(3 << 20))
    instance.save_as(tmp_path / "long.dcm", enforce_file_format=True)
    content = (tmp_path / "long.dcm").read_bytes()
    start = content.index(b"\x08\x00\x16\x00")
    (tmp_path / "bare.dcm").write_bytes(content[start:])
    require_bounded_file(tmp_path / "bare.dcm")


def test_a_text_is_named_as_what_it_is(tmp_path):
    (tmp_path / "notes.txt").write_text("no DICOM at all" * 20)
    with pytest.raises(BrokenStream, match="not a DICOM file"):
        require_bounded_file(tmp_path / "notes.txt")


def test_a_long_header_that_is_harmless_is_read(ct_series, tmp_path):
    (instance,) = ct_series(slices=1)
    instance.add_new(0x00091001, "OB", bytes(3 << 20))
    instance.save_as(tmp_path / "long.dcm", enforce_file_format=True)
    require_bounded_file(tmp_path / "long.dcm")


def test_nesting_without_end_is_refused(ct_series, tmp_path):
    (instance,) = ct_series(slices=1)
    depth = 40_000
    nested = (b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff") * depth
    path = tmp_path / "nested.dcm"
    instance.save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes()[:900] + nested)
    with pytest.raises(BrokenStream):
        require_bounded_file(path)
