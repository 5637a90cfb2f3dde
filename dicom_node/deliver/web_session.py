"""HTTP to a DICOMweb server: credentials, TLS, redirects, and errors in plain words."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import check_header_validity
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from dicom_node.errors import BadCredentials, NodeError, PeerRefused, PeerUnavailable
from dicom_node.net.tls.client_tls import TlsFiles, handshake_failure, speaks_tls, tls_reason

TRY_LATER = {408, 425, 429}
"""Client errors of the moment, not of the request; every server error is too."""

UNAUTHORISED = {401, 403, 407}

# Not 303, which asks for a GET of something else (RFC 9110 15.4.4).
MOVED = {301, 302, 307, 308}
MOST_REDIRECTS = 5

SYSTEM_TRUST = TlsFiles()


@dataclass(frozen=True)
class WebSession:
    """A DICOMweb server, and what is needed to call it."""

    name: str
    url: str
    """The root under which `/studies` lies."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    """Bearer token; goes before user and password."""
    token_file: Path | None = None
    """File of a bearer token that something else renews; read for every request."""
    tls: TlsFiles = SYSTEM_TRUST
    connect_s: float = 10
    answer_s: float = 60
    """Time between two bytes of the answer."""

    @property
    def root(self) -> str:
        """The root without the slash at its end."""
        return self.url.rstrip("/")

    def open(self) -> requests.Session:
        """Return a session with the credentials and the trusted certificates."""
        # New for each request: the token is read anew, and no cookie or broken connection stays.
        session = requests.Session()
        session.headers["Accept"] = "application/dicom+json"
        session.auth = self._credentials()
        if urlsplit(self.url).scheme == "https":
            session.mount("https://", _TlsAdapter(self.tls))
        return session

    def get(self, url: str, params: dict[str, str]) -> requests.Response:
        """Return the answer to a GET, whatever its status.

        Raises:
            PeerUnavailable, PeerRefused: there is none.
        """
        with self.translated_errors(), self.open() as session:
            return session.get(url, params=params, timeout=self.timeout)

    def post(self, url: str, body: bytes, content_type: str) -> requests.Response:
        """Return the answer to a POST, whatever its status.

        The body has a Content-Length, as some servers demand (411), and follows each redirect;
        libraries turn a redirected POST into a GET (RFC 9110 15.4.2 allows both). Credentials do
        not follow to another host.

        Raises:
            PeerUnavailable, PeerRefused: there is none.
        """
        headers = {"Content-Type": content_type}
        with self.translated_errors(), self.open() as session:
            for _ in range(MOST_REDIRECTS + 1):
                answer = session.post(
                    url, body, headers=headers, timeout=self.timeout, allow_redirects=False
                )
                if answer.status_code not in MOVED or "Location" not in answer.headers:
                    return answer
                moved = urljoin(url, answer.headers["Location"])
                if url.startswith("https:") and not moved.startswith("https:"):
                    raise PeerRefused(
                        f"{self.name}: {self.url} redirects to an address without TLS; set url to"
                        " the right address"
                    )
                # requests' own rule, which it applies only to the redirects that it follows itself.
                if session.should_strip_auth(url, moved):
                    session.auth = _NoAuth()
                # The first address may have been plain HTTP, for which nothing was mounted.
                if moved.startswith("https:"):
                    session.mount("https://", _TlsAdapter(self.tls))
                url = moved
        raise PeerRefused(
            f"{self.name}: {self.url} redirects more than {MOST_REDIRECTS} times; set url to the"
            " right address"
        )

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Turn what `requests` raises into what it means for the job."""
        try:
            yield
        except (requests.exceptions.InvalidHeader, InvalidHeader):
            raise PeerRefused(  # whose own message would show it
                f"{self.name}: the password or token holds characters that no HTTP header may"
            ) from None
        except requests.RequestException as error:
            # dicomweb-client raises for a status; `post` and `get` return it.
            if error.response is not None and not error.response.ok:
                raise self.failure(error.response) from error
            raise self._unreachable(error) from error

    def failure(self, answer: requests.Response, size: int = 0) -> NodeError:
        """Return the error for an HTTP status other than success.

        Args:
            answer: the server's.
            size: bytes of the request.
        """
        status = answer.status_code
        message = f"{self.name}: {self.url} answered {status_phrase(status)}"
        if status >= 500 or status in TRY_LATER:
            return PeerUnavailable(message, wait_s=_retry_after(answer))
        if status in UNAUTHORISED:
            return BadCredentials(f"{message}; check user, password or token")
        if status == 411:
            return PeerRefused(
                f"{message}, though the request had a Content-Length; let the proxy before it"
                " keep that header"
            )
        if status == 413:
            return PeerRefused(
                f"{message}: {size / 1e6:.1f} MB are too large for it; raise the limit of the"
                " server and of the proxy before it (nginx: client_max_body_size)"
            )
        if hint := self._needs_tls():
            return PeerRefused(f"{message}; {hint}")
        return PeerRefused(f"{message}; check the address: /studies is added to it")

    def unreadable(self) -> PeerUnavailable:
        """Return the error for an answer that is not DICOM JSON."""
        return PeerUnavailable(
            f"{self.name}: {self.url} gave no answer that can be read as DICOM JSON; check that the"
            " address is a DICOMweb root and needs no login page"
        )

    @property
    def timeout(self) -> tuple[float, float]:
        """Seconds to connect, and between two bytes of the answer."""
        return self.connect_s, self.answer_s

    def _credentials(self) -> AuthBase | None:
        token = self.token
        if self.token_file:
            try:
                token = self.token_file.read_text(encoding="utf-8").strip()
            # Only the kind of the error: a failed decoding quotes the file, which is a secret.
            except (OSError, UnicodeDecodeError) as error:
                raise BadCredentials(
                    f"{self.name}: cannot read the token in {self.token_file}:"
                    f" {type(error).__name__}; make it readable for the node"
                ) from None
        if token:
            return _BearerAuth(token)
        if self.user:
            return HTTPBasicAuth(self.user, self.password or "")
        return None

    def _unreachable(self, error: requests.RequestException) -> PeerUnavailable:
        """Return the error for a request that got no answer, without the library's own words."""
        where = f"{self.name}: {self.url}"
        if isinstance(error, requests.exceptions.JSONDecodeError):
            return self.unreadable()
        # TLS before the rest: a refused certificate shows as a reset or a timeout, too.
        if reason := self._tls_failure(error):
            return PeerUnavailable(f"{where}: {reason}")
        if hint := self._needs_tls():
            return PeerUnavailable(f"{where} gave no answer: {hint}")
        if isinstance(error, requests.exceptions.ConnectTimeout):
            reason = f"no connection within {self.connect_s:g} s"
        elif isinstance(error, requests.exceptions.Timeout):
            reason = f"no answer within {self.answer_s:g} s"
        else:
            reason = _system_reason(error) or "the connection was closed without an answer"
        return PeerUnavailable(f"{where} cannot be reached: {reason}; check that it runs")

    def _tls_failure(self, error: requests.RequestException) -> str:
        """Return why there is no TLS; a refused client certificate may look like a reset."""
        parts, reason = urlsplit(self.url), ""
        if parts.scheme == "https" and isinstance(error, requests.exceptions.ConnectionError):
            context = self.tls.context()
            reason = handshake_failure(parts.hostname or "", parts.port or 443, context)
        if not reason and isinstance(error, requests.exceptions.SSLError):
            reason = next(
                (tls_reason(e) for e in _causes(error) if isinstance(e, ssl.SSLError)), ""
            )
        return reason

    def _needs_tls(self) -> str:
        parts = urlsplit(self.url)
        if parts.scheme == "http" and speaks_tls(parts.hostname or "", parts.port or 80):
            return "the server expects TLS; let url begin with https://"
        return ""


class _BearerAuth(AuthBase):
    """Token in the Authorization header; given as auth, ~/.netrc cannot replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        header = f"Bearer {self._token}"
        check_header_validity(("Authorization", header))  # which requests does before it asks us
        request.headers["Authorization"] = header
        return request


class _NoAuth(AuthBase):
    """No credentials, not even those of ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _TlsAdapter(HTTPAdapter):
    """Trusts what the system trusts and the peer's own files, besides requests' own list."""

    def __init__(self, files: TlsFiles) -> None:
        self._context = files.context()
        self._check_hostname = files.check_hostname
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Open connections with this context."""
        kwargs["ssl_context"] = self._context
        # urllib3: None compares with the host called, False compares nothing.
        kwargs["assert_hostname"] = None if self._check_hostname else False
        super().init_poolmanager(*args, **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Open connections through a proxy with this context."""
        return super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)


def status_phrase(status: int) -> str:
    """Return a status as RFC 9110 names it; the server's own words may name a patient."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _retry_after(answer: requests.Response) -> float:
    """Return the pause that a server asks for (RFC 9110 10.2.3), in seconds."""
    header = answer.headers.get("Retry-After")
    try:
        return float(Retry().parse_retry_after(header)) if header else 0.0
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


def _system_reason(error: BaseException) -> str:
    """Return the operating system's words for a failed connection."""
    # Of requests' message only the system's words: the rest holds objects' addresses and URLs.
    reasons = [each.strerror for each in _causes(error) if isinstance(each, OSError)]
    return next((reason for reason in reasons if reason), "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was made of; urllib3 passes them as arguments."""
    # Errors may name each other as causes.
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        made_of = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
        waiting += [part for part in made_of if isinstance(part, BaseException)]
