"""Files on their way between a gateway and the others: cut, changed, refused."""

import json
import logging
import os
from http import HTTPStatus
from http.client import HTTPConnection

import pytest
import requests
import trustme

from dicom_node.cluster.fenced_worker import TakenOver
from dicom_node.config.cluster_section import ClusterSection
from dicom_node.deliver.web_session import WebSession
from dicom_node.errors import GatewayAway, NotHeld
from dicom_node.fetched.transfer.digest import digest_of, from_header, to_header
from dicom_node.fetched.transfer.door import lending
from dicom_node.fetched.transfer.held_files import HeldFiles
from dicom_node.fetched.transfer.holder import Holder
from dicom_node.net.tls.client_tls import TlsFiles
from tests.dicom_node.fetched.lender import EXECUTOR, JOB, SERIES, TOKEN, holder, owned
from tests.system.servers import free_port

CONTENT = os.urandom(3_000_000)


@pytest.fixture(autouse=True)
def _quiet_uvicorn(caplog):
    caplog.set_level(logging.CRITICAL, "uvicorn.error")  # it logs each answer that a test cuts


def fetched(gateway, name, tmp_path, *, by=None):
    target = tmp_path / name
    (by or gateway.holder).fetch_instances(SERIES, {name: target})
    return target


def url_of(gateway, path):
    return f"{gateway.holder.web.root}{path}"


def ask(gateway, path, method="GET", **headers):
    headers = {"Authorization": f"Bearer {TOKEN}", **headers}
    return requests.request(method, url_of(gateway, path), headers=headers, timeout=5)


def test_a_copy_has_content_and_time_of_its_original(gateway, tmp_path):
    name = gateway.instance(CONTENT)
    copy = fetched(gateway, name, tmp_path)
    assert copy.read_bytes() == CONTENT
    (listed,) = gateway.holder.instances(SERIES)
    assert listed.is_copied_to(copy)
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_what_was_cut_off_goes_on_where_it_ended(gateway, tmp_path):
    name = gateway.instance(CONTENT)
    gateway.door.cut_at = [1_000_000, 900_000]
    assert fetched(gateway, name, tmp_path).read_bytes() == CONTENT
    ranges = [headers.get("range") for _, _, headers in gateway.door.asked]
    assert len(ranges) == 3
    assert ranges[0] is None
    begins = [int(each.removeprefix("bytes=").removesuffix("-")) for each in ranges[1:]]
    # Of the last piece nothing is kept.
    assert 700_000 < begins[0] <= 1_000_000 < begins[1] <= 1_900_000
    assert {headers.get("if-range") for _, _, headers in gateway.door.asked[1:]} == {
        f'"{digest_of(gateway.path(name))}"'
    }


def test_a_file_that_changed_since_the_cut_comes_whole(gateway, tmp_path):
    name = gateway.instance(CONTENT)
    gateway.door.cut_at = [1_000_000]
    other = os.urandom(2_000_000)
    asked = gateway.door.asked

    class Changing(list):
        def append(self, request):
            super().append(request)
            if len(self) == 2:
                gateway.path(name).write_bytes(other)

    gateway.door.asked = Changing(asked)
    assert fetched(gateway, name, tmp_path).read_bytes() == other


def test_a_range_that_cannot_be_had_is_given_up_for_the_whole(gateway, tmp_path):
    name = gateway.instance(CONTENT)
    gateway.door.cut_at = [1_000_000]
    gateway.door.statuses = [0, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE]
    assert fetched(gateway, name, tmp_path).read_bytes() == CONTENT
    assert "range" not in gateway.door.asked[-1][2]


@pytest.mark.parametrize("status", [500, 503, 507, 403, 418])
def test_a_gateway_that_answers_otherwise_counts_as_away(gateway, tmp_path, status):
    name = gateway.instance(CONTENT)
    gateway.door.statuses = [status]
    with pytest.raises(GatewayAway, match=f"answered {status}"):
        fetched(gateway, name, tmp_path)


def test_a_gateway_that_cuts_again_and_again_counts_as_away(gateway, tmp_path):
    name = gateway.instance(CONTENT)
    gateway.door.cut_at = [0] * 20
    with pytest.raises(GatewayAway, match="receive-1"):
        fetched(gateway, name, tmp_path)
    assert list(tmp_path.glob(f"{name}*")) == []


def flipped(body):
    return bytes([body[0] ^ 1]) + body[1:]


def test_bytes_that_were_changed_on_their_way_are_fetched_again(gateway, tmp_path):
    name = gateway.instance(CONTENT)
    gateway.door.disturb = [flipped]
    assert fetched(gateway, name, tmp_path).read_bytes() == CONTENT
    assert len(gateway.door.asked) == 2


def test_bytes_that_never_have_their_digest_are_not_kept(gateway, tmp_path):
    name = gateway.instance(CONTENT)
    (tmp_path / name).write_bytes(b"before")
    gateway.door.disturb = [flipped] * 10
    with pytest.raises(GatewayAway, match="other bytes than those of its digest"):
        fetched(gateway, name, tmp_path)
    assert (tmp_path / name).read_bytes() == b"before"
    assert list(tmp_path.glob("*.part")) == []


def test_a_copy_that_is_the_same_is_not_sent_again(gateway, tmp_path):
    name = gateway.instance(CONTENT)
    for _ in range(2):
        copy = fetched(gateway, name, tmp_path)
    *_, (_, _, headers) = gateway.door.asked
    assert headers["if-none-match"] == f'"{digest_of(copy)}"'
    answer = ask(
        gateway, f"/series/1.2.3/1.2.3.4/{name}", **{"If-None-Match": headers["if-none-match"]}
    )
    assert (answer.status_code, answer.content) == (HTTPStatus.NOT_MODIFIED, b"")


def test_a_part_can_be_asked_for_and_the_digest_is_that_of_the_whole(gateway):
    name = gateway.instance(b"0123456789")
    answer = ask(gateway, f"/series/1.2.3/1.2.3.4/{name}", Range="bytes=4-")
    assert (answer.status_code, answer.content) == (HTTPStatus.PARTIAL_CONTENT, b"456789")
    assert answer.headers["Content-Range"] == "bytes 4-9/10"
    assert from_header(answer.headers["Repr-Digest"]) == digest_of(gateway.path(name))


def test_an_instance_that_was_removed_is_named_so(gateway, tmp_path):
    name = gateway.instance(b"instance")
    gateway.path(name).unlink()
    with pytest.raises(NotHeld, match="no longer holds"):
        fetched(gateway, name, tmp_path)


@pytest.mark.parametrize("token", ["", "another", TOKEN + "x", "ümlaut", None])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/series/1.2/1.3"), ("PUT", f"/results/{JOB}/{JOB}.dcm"), ("GET", "/none")],
)
def test_every_path_asks_for_the_token(gateway, token, method, path):
    headers = {} if token is None else {"Authorization": f"Bearer {token}".encode()}
    answer = requests.request(method, url_of(gateway, path), headers=headers, data=b"x", timeout=5)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert list(gateway.data.results.iterdir()) == []


def test_a_wrong_token_is_named_with_the_remedy(gateway, tmp_path):
    port = int(gateway.holder.web.root.rpartition(":")[2])
    stranger = holder("receive-1", port, token="another")
    with pytest.raises(GatewayAway, match="HEPAR_CLUSTER__TOKEN") as caught:
        stranger.instances(SERIES)
    assert "another" not in str(caught.value)


def test_a_gateway_that_does_not_run_is_away(tmp_path):
    away = holder("receive-1", free_port())
    for call in (
        lambda: away.instances(SERIES),
        lambda: away.fetch_results(JOB, {f"{JOB}.dcm": tmp_path / "x"}),
        lambda: away.put_result(JOB, write(tmp_path / f"{JOB}.dcm", b""), EXECUTOR),
    ):
        with pytest.raises(GatewayAway, match="cannot be reached"):
            call()


def write(path, content):
    path.write_bytes(content)
    return path


TRICKS = [
    "/series/1.2.3/1.2.3.4/..%2f..%2f..%2fnode",
    "/series/1.2.3/1.2.3.4/../../../node",
    "/series/1.2.3/..%2f..%2fnode",
    "/series/%2e%2e/%2e%2e",
    "/series/1.2.3/%2e%2e/1.2.3.dcm",
    "/series/%2e%2e/results/fedcba9876543210.dcm",
    "/series/%2e%2e/%2e%2e/gateway/node",
    "/series//etc/passwd",
    "/series/1.2.3/1.2.3.4/refused.txt",
    "/series/1.2.3/1.2.3.4/%00.dcm",
    f"/results/{JOB}/..%2f..%2fnode",
    f"/results/{JOB}/%2e%2e",
    f"/results/{JOB}/fedcba9876543210.dcm",
    f"/results/{JOB}/{JOB}.dcm%00",
    f"/results/{JOB}/{JOB}.txt",
    "/results/..%2fspool",
    "/results/*/x.dcm",
    "/node",
]


@pytest.mark.parametrize("path", TRICKS)
def test_no_name_leads_out_of_what_is_lent(gateway, path):
    name = gateway.instance(b"instance")
    for secret in (
        gateway.data.folder / "node",
        gateway.data.results / f"{JOB}.txt",
        gateway.data.results / "fedcba9876543210.dcm",
        gateway.path(name).parent / "refused.txt",
    ):
        secret.write_text("secret")
    # As it is: requests would tidy the path.
    connection = HTTPConnection(gateway.holder.web.root.removeprefix("http://"), timeout=5)
    connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert b"secret" not in content
    assert answer.status == HTTPStatus.NOT_FOUND or json.loads(content) == []


@pytest.mark.parametrize(
    "name", ["..%2fnode", "fedcba9876543210.dcm", f"{JOB}.sh", f"{JOB}.dcm%2f.."]
)
def test_no_name_of_another_file_is_taken(gateway, name):
    before = sorted(gateway.data.folder.rglob("*"))
    headers = {"Content-Digest": to_header("00" * 32)}
    answer = ask(gateway, f"/results/{JOB}/{name}", "PUT", **headers)
    assert answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
    assert sorted(gateway.data.folder.rglob("*")) == before


def test_a_result_is_brought_and_fetched(gateway, tmp_path):
    file = write(tmp_path / f"{JOB}.report.dcm", CONTENT)
    gateway.holder.put_result(JOB, file, EXECUTOR)
    (listed,) = gateway.holder.results(JOB)
    assert (listed.name, listed.size) == (file.name, len(CONTENT))
    gateway.holder.fetch_results(JOB, {file.name: tmp_path / "copy"})
    assert (tmp_path / "copy").read_bytes() == CONTENT


@pytest.mark.parametrize("executor", ["work-2", ""])
def test_a_result_of_a_process_that_lost_the_job_is_not_taken(gateway, tmp_path, executor):
    ours = write(tmp_path / f"{JOB}.dcm", CONTENT)
    gateway.holder.put_result(JOB, ours, EXECUTOR)
    late = write(tmp_path / f"{JOB}.dcm", b"late")
    with pytest.raises(TakenOver):
        gateway.holder.put_result(JOB, late, executor)
    assert [each.read_bytes() for each in gateway.data.results.iterdir()] == [CONTENT]


@pytest.mark.parametrize("digest", ["", "md5=:AAAA:", to_header("00" * 32), "sha-256=:?:"])
def test_a_result_without_its_digest_is_not_taken(gateway, digest):
    answer = requests.put(
        url_of(gateway, f"/results/{JOB}/{JOB}.dcm"),
        data=b"result",
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Digest": digest},
        timeout=5,
    )
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert list(gateway.data.results.iterdir()) == []


def test_files_are_fetched_by_tls_from_a_gateway_with_a_certificate(gateway, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("127.0.0.1")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    section = ClusterSection(files="fetched", token=TOKEN, port=0, cert_file=tmp_path / "own.pem")
    name = gateway.instance(CONTENT)
    with lending(section, HeldFiles(gateway.data), owned) as (_, port):
        assert section.reached_at(port) == f"https://127.0.0.1:{port}"
        web = WebSession(
            "g", section.reached_at(port), token=TOKEN, tls=TlsFiles(tmp_path / "ca.pem")
        )
        copy = fetched(gateway, name, tmp_path, by=Holder("g", web))
        with pytest.raises(GatewayAway, match="certificate"):
            Holder("g", WebSession("g", section.reached_at(port), token=TOKEN)).instances(SERIES)
    assert copy.read_bytes() == CONTENT


def test_a_digest_is_found_among_others():
    value = f"sha-512=:AAAA:, {to_header('ab' * 32)}"
    assert from_header(value) == "ab" * 32
    assert from_header("sha-512=:AAAA:") == ""
