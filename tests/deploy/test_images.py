"""Base images are pinned to what a registry says of their tags; here one that stands in for it."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from deploy.images import __main__ as command
from deploy.images.pins import pin, pinned_files
from deploy.images.registry import ACCEPTED, DOCKER_HUB, Image, RegistryError, newest_digest

DIGEST = "sha256:" + "ab" * 32
TAGS = {"library/debian:slim": DIGEST, "broken/image:1": "no digest"}


class Registry(BaseHTTPRequestHandler):
    """Gives a token to anybody, and the digest of a tag to who shows that token."""

    def do_GET(self):
        asked = parse_qs(urlsplit(self.path).query)
        assert asked["service"] == ["stand-in"]
        scope = asked["scope"][0]
        self._answer(200, body=f'{{"token": "for {scope}"}}'.encode())

    def do_HEAD(self):
        _, _, *repository, _, tag = self.path.split("/")
        scope = f"repository:{'/'.join(repository)}:pull"
        if self.headers["Authorization"] != f"Bearer for {scope}":
            host, port = self.server.server_address
            realm = f'realm="http://{host}:{port}/token",service="stand-in",scope="{scope}"'
            self._answer(401, {"WWW-Authenticate": f"Bearer {realm}"})
            return
        assert self.headers["Accept"].split(", ") == list(ACCEPTED)
        digest = TAGS.get(f"{'/'.join(repository)}:{tag}")
        self._answer(200 if digest else 404, {"Docker-Content-Digest": digest} if digest else {})

    def _answer(self, status, headers=None, body=b""):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep the output of the tests clean."""


@pytest.fixture
def registry():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def digest_in(registry, name, tag):
    with httpx.Client() as client:
        return newest_digest(client, Image(f"{registry}/{name}", tag), scheme="http")


def test_the_digest_of_a_tag_is_what_the_registry_says_to_who_has_a_token(registry):
    assert digest_in(registry, "library/debian", "slim") == DIGEST


@pytest.mark.parametrize(
    ("name", "tag", "words"),
    [
        ("library/debian", "none", "status 404"),
        ("broken/image", "1", "digest 'no digest'"),
    ],
)
def test_an_image_that_is_not_there_is_named(registry, name, tag, words):
    with pytest.raises(RegistryError, match=rf"{name}/manifests/{tag}: .*{words}"):
        digest_in(registry, name, tag)


def test_a_registry_that_cannot_be_reached_is_named(registry):
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1/v2/a/b/.*can be reached"):
        digest_in("127.0.0.1:1", "a/b", "1")


@pytest.mark.parametrize("challenge", ['Basic realm="x"', ""])
def test_a_registry_that_asks_for_a_password_is_refused(challenge):
    def answer(request):
        return httpx.Response(401, headers={"WWW-Authenticate": challenge})

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as client,
        pytest.raises(RegistryError, match="not for a token"),
    ):
        newest_digest(client, Image("debian", "slim"))


@pytest.mark.parametrize(
    ("name", "registry", "repository"),
    [
        ("debian", DOCKER_HUB, "library/debian"),
        ("owner/image", DOCKER_HUB, "owner/image"),
        ("ghcr.io/owner/image", "ghcr.io", "owner/image"),
        ("localhost:5000/image", "localhost:5000", "image"),
    ],
)
def test_a_name_is_read_as_docker_reads_it(name, registry, repository):
    image = Image(name, "1")
    assert (image.registry, image.repository) == (registry, repository)


def test_every_base_image_is_found_where_it_is_pinned():
    asked = []

    def digest_of(image):
        asked.append(image)
        raise RegistryError

    for file in pinned_files(command.DEPLOY):
        with pytest.raises(RegistryError):
            pin([file], digest_of)
    assert {each.name for each in asked} == {"debian", "python", "node", "postgres"}


@pytest.fixture
def files(tmp_path):
    """A Dockerfile and a Compose file, each with what is no base image beside its own."""
    dockerfile, compose = tmp_path / "a.Dockerfile", tmp_path / "compose.yaml"
    dockerfile.write_text(
        f"# FROM a:1 in a comment\nFROM debian:slim@sha256:{'0' * 64} AS build\nRUN echo b:2\n"
        f"FROM debian:slim\nCOPY --from=build /a /b\n"
    )
    compose.write_text(f"services:\n  db:\n    image: postgres:15@{DIGEST}\n    user: '1:1'\n")
    return [dockerfile, compose]


def test_each_image_gets_its_digest_and_is_asked_for_once(files):
    asked = []

    def digest_of(image):
        asked.append(image.name)
        return DIGEST

    assert pin(files, digest_of) == [
        f"debian:slim is now {DIGEST}",
        f"postgres:15 is still {DIGEST}",
    ]
    assert asked == ["debian", "postgres"]
    assert files[0].read_text() == (
        f"# FROM a:1 in a comment\nFROM debian:slim@{DIGEST} AS build\nRUN echo b:2\n"
        f"FROM debian:slim@{DIGEST}\nCOPY --from=build /a /b\n"
    )
    assert files[1].read_text().count(DIGEST) == 1


def test_an_error_at_the_last_image_changes_no_file(files, monkeypatch, capsys):
    before = [file.read_text() for file in files]

    def digest_of(client, image):
        if image.name == "postgres":
            raise RegistryError("no postgres")
        return DIGEST

    monkeypatch.setattr(command, "pinned_files", lambda _: files)
    monkeypatch.setattr(command, "newest_digest", digest_of)
    assert command.main() == 1
    assert capsys.readouterr().err == "no postgres\nNo file was changed.\n"
    assert [file.read_text() for file in files] == before
