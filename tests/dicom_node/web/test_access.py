"""Who is taken for logged in, behind a reverse proxy and without one."""

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from dicom_node.config.page_sections import HttpSection
from dicom_node.web.access import Access
from tests.dicom_node.web.in_process import InProcess

BEHIND = HttpSection(user_header="X-Remote-User", proxies=["10.0.0.0/8", "::1/128"])


async def _names_its_caller(scope, receive, send):
    caller = Request(scope).scope["caller"]
    await PlainTextResponse(caller.user or "nobody")(scope, receive, send)


def ask(http, client, method="GET", **headers):
    asking = InProcess(Access(_names_its_caller, http), client, "http://127.0.0.1")
    return asking.request(method, "/", headers=headers)


@pytest.mark.parametrize("client", ["10.1.2.3", "::1", "::ffff:10.1.2.3"])
def test_a_proxy_names_the_user(client):
    answer = ask(BEHIND, client, **{"X-Remote-User": "anna"})
    assert (answer.status_code, answer.text) == (200, "anna")


@pytest.mark.parametrize("client", ["127.0.0.1", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_header_of_anybody_else_is_not_believed(client, method):
    assert ask(BEHIND, client, method, **{"X-Remote-User": "anna"}).status_code in (401, 403)


@pytest.mark.parametrize("user", ["", " ", "\t"])
def test_a_proxy_that_names_nobody_logs_nobody_in(user):
    assert ask(BEHIND, "10.1.2.3", **{"X-Remote-User": user}).status_code == 401


def test_a_name_that_would_forge_a_line_of_the_log_stays_one_line():
    answer = ask(BEHIND, "10.1.2.3", **{"X-Remote-User": b"anna\x85action=remove"})
    assert len(answer.text.splitlines()) == 1
