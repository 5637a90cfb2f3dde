"""Damaged associations and uploads at a running node: answered or ended, and the node goes on.

One of each known kind and 40 others in the suite; `HEPAR_MUTANTS=10000` tries more, as `make soak`
does.
"""

import os
import re
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydicom import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from tests.conftest import make_ct_series
from tests.dicom_node.node_process import NodeProcess
from tests.mutations import IN_PLACE, KNOWN, mutated, mutations
from tests.waiting import GENEROUS_S, wait_until

EXAMPLES = int(os.environ.get("HEPAR_MUTANTS", "40"))
FEW = examples(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 40,
    suppress_health_check=list(HealthCheck),
    database=None,
)
TOKEN = "a-long-password"
UNFORESEEN = re.compile("unforeseen|Traceback|Exception ")
"""Words of the log about an error that nobody expected."""
OF_PATIENT = re.compile(rb"Doe|Jane|TEST-1|19500101")
"""Name, ID and birth date of `make_ct_series`."""
UNFIT = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
LONGEST_LINE = 2000
(SENT,) = make_ct_series(1)
SENDER = AE("CT")
SENDER.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
SENDER.add_requested_context("1.2.840.10008.1.1")


@dataclass(frozen=True)
class Served:
    """A node in a process of its own; its end would be seen.

    In this process Hypothesis changes the recursion limit beneath the node's threads, which ends
    Python where one of them is deep in a nested data set.
    """

    process: NodeProcess
    address: tuple[str, int]
    http: tuple[str, int]

    def jobs(self):
        return self.process.jobs()


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A running node; at the end it serves as before, and every series has come to an end.

    Its log has nothing of the patient, and no line that is too long or has control characters.
    """
    http = ("127.0.0.1", free_port())
    process = NodeProcess(
        tmp_path_factory.mktemp("node"),
        receive={"quiet_s": 0.2, "keep_free_mb": 0},
        http={"port": http[1], "token": TOKEN},
    )
    process.start()
    wait_until(lambda: _answers(http))
    node = Served(process, (process.peer.host, process.peer.port), http)
    yield node
    _require_service(node)
    wait_until(lambda: not any(job.state.active for job in node.jobs()))
    assert [job.reason for job in node.jobs() if "unforeseen" in job.reason] == []
    process.stop()
    lines = process.log.read_bytes().splitlines()
    assert lines
    assert [line for line in lines if OF_PATIENT.search(line) or UNFIT.search(line)] == []
    assert max(map(len, lines)) <= LONGEST_LINE


def _answers(address):
    with suppress(OSError), socket.create_connection(address, GENEROUS_S):
        return True
    return False


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def association(node):
    """What a sender sends over one association: its request; then an instance, and the end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sent = bytearray()
        passing = threading.Thread(target=_pass_on, args=(listening, node.address, sent))
        passing.start()
        association = SENDER.associate(*listening.getsockname())
        assert association.send_c_store(SENT).Status == 0x0000
        association.release()
        passing.join()
    request = 6 + int.from_bytes(sent[2:6], "big")  # header and length of the PDU (PS3.8 9.3.1)
    return bytes(sent[:request]), bytes(sent[request:])


def test_the_association_that_is_damaged_brings_a_series(node, association):
    request, rest = association
    uid = str(SENT.SeriesInstanceUID)
    other = uid[:-1] + ("1" if uid[-1] != "1" else "2")
    _answer(node, (request, rest.replace(uid.encode(), other.encode())))
    wait_until(lambda: any(job.series_uid == other for job in node.jobs()))


@given(st.booleans(), mutations())
@FEW
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_association_ends(node, association, is_request, changes):
    request, rest = association
    with suppress(OSError):  # the node has ended it first
        if is_request:
            # It may never be answered, since the node waits for more.
            _answer(node, (mutated(request, changes), rest), accepted_s=0.5)
        else:
            _answer(node, (request, mutated(rest, changes)))
    _require_service(node)


@pytest.mark.parametrize("damage", IN_PLACE)
def test_an_association_with_damage_of_a_known_kind_ends(node, association, damage):
    request, rest = association
    with nothing_unforeseen(node):
        _answer(node, (request, mutated(rest, [IN_PLACE[damage]])))
    _require_service(node)


@given(mutations())
@FEW
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_upload_is_answered(node, changes):
    _upload(node, changes)


@pytest.mark.parametrize("damage", KNOWN)
def test_an_upload_with_damage_of_a_known_kind_is_answered(node, damage):
    with nothing_unforeseen(node):
        _upload(node, [KNOWN[damage]])


def _upload(node, changes):
    """Send an upload, and fail if it is not answered."""
    file = BytesIO()
    dcmwrite(file, SENT, enforce_file_format=True)
    part = b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n"
    body = mutated(part + file.getvalue() + b"\r\n--b--\r\n", changes)
    answer = httpx.post(
        "http://{}:{}/dicom-web/studies".format(*node.http),
        content=body,
        headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
        auth=("CT", TOKEN),
        timeout=GENEROUS_S,
    )
    assert answer.status_code in (200, 202, 400, 409, 413)


@contextmanager
def nothing_unforeseen(node):
    """Fail if the node logs an error meanwhile that nobody expected."""
    log = node.process.log
    begun = log.stat().st_size
    yield
    added = log.read_bytes()[begun:].decode(errors="replace")
    assert [line for line in added.splitlines() if UNFORESEEN.search(line)] == []


def _require_service(node):
    """Fail if the node does not serve: a caller that is gone must not hold a place."""
    association = SENDER.associate(*node.address)
    assert association.is_established
    assert association.send_c_echo().Status == 0x0000
    association.release()


def _answer(node, association, accepted_s=GENEROUS_S):
    """Send the request, and the rest once it is answered; return what comes until the end."""
    request, rest = association
    received = bytearray()
    with socket.create_connection(node.address, GENEROUS_S) as connection:
        connection.sendall(request)
        connection.settimeout(accepted_s)
        with suppress(TimeoutError):
            received += connection.recv(1 << 16)
        connection.settimeout(GENEROUS_S)
        connection.sendall(rest)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(1 << 16):
            received += piece
    return bytes(received)


def _pass_on(listening, address, sent):
    """Pass one connection on in both directions, and keep what its client sends."""
    client, _ = listening.accept()
    with client, socket.create_connection(address) as server:
        back = threading.Thread(target=_copy, args=(server, client, bytearray()))
        back.start()
        _copy(client, server, sent)
        back.join()


def _copy(source, target, kept):
    while piece := source.recv(1 << 16):
        kept += piece
        target.sendall(piece)
    target.shutdown(socket.SHUT_WR)
