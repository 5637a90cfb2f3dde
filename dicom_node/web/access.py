"""Access to the web server: host names, login, requests from other sites, response headers.

- A Host header must hold an IP address, "localhost" or a configured name. A page of another site
  that points its own name at this address (DNS rebinding) is refused.
- With a token, every path but health asks for it: as the password of HTTP Basic, with any user
  name, or as a Bearer token. Behind a reverse proxy, the header that names the user does.
- Without a token only reading is allowed, never a change.
- A change that a browser sends for another site is refused (Sec-Fetch-Site, Origin), because
  browsers attach remembered Basic credentials to those too.
"""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.config.page_sections import HttpSection
from dicom_node.net.callers import is_within

PUBLIC = ("/health", "/healthz", "/readyz")
"""Paths for health checks, which have no login; they name no patient."""

SAFE = ("GET", "HEAD", "OPTIONS")

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Added to every response that does not have its own."""


@dataclass(frozen=True)
class Caller:
    """Sender of a request."""

    user: str
    """Name for the record of changes; empty where nobody logged in."""

    @property
    def may_change(self) -> bool:
        """Whether the caller logged in."""
        return bool(self.user)


class Access:
    """ASGI middleware that refuses what is not allowed, and states the caller in the scope."""

    def __init__(self, app: ASGIApp, http: HttpSection) -> None:
        self._app = app
        self._http = http

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        # Around every answer, refusals and errors too, which pass no route.
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answered.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        caller = _caller(headers, scope.get("client"), self._http)
        if refusal := _refusal(scope, headers, caller, self._http):
            await refusal(scope, receive, with_headers)
            return
        scope["caller"] = caller
        await self._app(scope, receive, with_headers)


def _refusal(scope: Scope, headers: Headers, caller: Caller, http: HttpSection) -> Response | None:
    host = headers.get("host", "")
    # Before health: a foreign page must not even learn that a node is here.
    if not _is_own_name(host, http):
        return _refuse(
            HTTPStatus.MISDIRECTED_REQUEST,
            "unknown host name in the Host header; add it to http.names",
        )
    if scope["path"] in PUBLIC:
        return None
    if _needs_login(http) and not caller.may_change:
        return _ask_for_login("log in with any user name, and the token as the password")
    if scope["method"] in SAFE:
        return None
    if not caller.may_change:
        if http.token:
            return _ask_for_login("log in to make changes")
        return _refuse(
            HTTPStatus.FORBIDDEN,
            "changes need a login; set HEPAR_HTTP__TOKEN in the node's environment",
        )
    if _from_another_site(headers, host):
        return _refuse(HTTPStatus.FORBIDDEN, "the request comes from a page of another site")
    return None


def _needs_login(http: HttpSection) -> bool:
    return bool(http.token or http.user_header) and not http.open


def _caller(headers: Headers, client: tuple[str, int] | None, http: HttpSection) -> Caller:
    # From any other address the header is what the sender made up.
    if http.user_header and client and is_proxy(client[0], http):
        return Caller(_one_line(headers.get(http.user_header, "")))
    # Also behind a proxy: health checks and scripts call the node directly.
    kind, _, value = headers.get("authorization", "").partition(" ")
    if http.token is None or not value:
        return Caller("")
    token = http.token.get_secret_value()
    if kind.lower() == "bearer":
        return Caller("token" if _equal(value.strip(), token) else "")
    if kind.lower() == "basic":
        user, password = _basic(value)
        return Caller((_one_line(user) or "token") if _equal(password, token) else "")
    return Caller("")


def is_proxy(address: str, http: HttpSection) -> bool:
    """Return whether an address is that of a configured proxy."""
    return is_within(address, http.proxies)


def _basic(value: str) -> tuple[str, str]:
    """Return user and password of HTTP Basic (RFC 7617); empty where there are none."""
    try:
        # The first colon divides; the password may hold more (RFC 7617 2).
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


def _one_line(text: str) -> str:
    """Return text from outside so that it fits into a line of the log."""
    return "".join(char for char in text if char.isprintable())[:64].strip()


def _equal(one: str, other: str) -> bool:
    # As bytes: of texts, `compare_digest` takes ASCII only, and raises.
    return hmac.compare_digest(one.encode(), other.encode())  # in constant time


def _is_own_name(host: str, http: HttpSection) -> bool:
    try:
        # Takes off the port, and the brackets of an IPv6 address.
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in {"localhost", *(each.lower() for each in http.names)}
    return True


def _from_another_site(headers: Headers, host: str) -> bool:
    site = headers.get("sec-fetch-site")
    # Browsers send it to HTTPS addresses and localhost only; over plain HTTP, Origin decides.
    if site is not None:
        # "none": typed, or a bookmark. "same-site" is refused: a neighbour's host name is not ours.
        return site not in ("same-origin", "none")
    origin = headers.get("origin")  # absent: the caller is a program, not a page
    return origin is not None and urlsplit(origin).netloc != host


def _ask_for_login(reason: str) -> Response:
    # A browser shows its login only when asked; programs that send a Bearer token ignore it.
    headers = {"WWW-Authenticate": 'Basic realm="Hepar", charset="UTF-8"'}
    return PlainTextResponse(reason, HTTPStatus.UNAUTHORIZED, headers)


def _refuse(status: HTTPStatus, reason: str) -> Response:
    return PlainTextResponse(reason, status)
