"""Digest of an image's tag, by the HTTP API of registries (OCI Distribution Specification 1.1)."""

import re
from dataclasses import dataclass

import httpx

DOCKER_HUB = "registry-1.docker.io"

ACCEPTED = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""An index first: its digest holds for every architecture."""

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class RegistryError(Exception):
    """A registry cannot be reached, or does not have an image."""


@dataclass(frozen=True)
class Image:
    """An image by its tag."""

    name: str
    """As in a Dockerfile: "debian", "owner/image" or "host/owner/image"."""
    tag: str

    @property
    def registry(self) -> str:
        """Host, and port if it has one, that keeps it."""
        host, slash, _ = self.name.partition("/")
        # By this Docker tells a host from an owner on Docker Hub.
        return host if slash and re.search(r"[.:]|^localhost$", host) else DOCKER_HUB

    @property
    def repository(self) -> str:
        """Its name in the registry."""
        if self.registry != DOCKER_HUB:
            return self.name.partition("/")[2]
        # The official images have no owner in a Dockerfile.
        return self.name if "/" in self.name else f"library/{self.name}"


def newest_digest(client: httpx.Client, image: Image, scheme: str = "https") -> str:
    """Return the digest of what the tag of an image is now, as "sha256:…".

    Raises:
        RegistryError: the registry cannot be reached, does not have it, or asks for a password.
    """
    address = f"{scheme}://{image.registry}/v2/{image.repository}/manifests/{image.tag}"
    headers = {"Accept": ", ".join(ACCEPTED)}
    try:
        answer = client.head(address, headers=headers)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            token = _token(client, answer.headers.get("WWW-Authenticate", ""))
            answer = client.head(address, headers=headers | {"Authorization": f"Bearer {token}"})
    except httpx.HTTPError as error:
        raise RegistryError(
            f"{address}: {error}; try again where this registry can be reached"
        ) from error
    digest: str = answer.headers.get("Docker-Content-Digest", "")
    if not answer.is_success or not DIGEST.fullmatch(digest):
        raise RegistryError(
            f"{address}: status {answer.status_code}, digest {digest!r}; check name and tag"
        )
    return digest


def _token(client: httpx.Client, challenge: str) -> str:
    """Return a token for anybody, from where a registry says that there are some."""
    asked = dict(PARAMETER.findall(challenge))
    realm = asked.pop("realm", "")
    if not challenge.lower().startswith("bearer ") or not realm:
        raise RegistryError(f"the registry asks for {challenge!r}, not for a token; log in there")
    answer = client.get(realm, params=asked)
    try:
        found = answer.json() if answer.is_success else {}
    except ValueError:  # no JSON
        found = {}
    token = found.get("token") or found.get("access_token")
    if not token:
        raise RegistryError(f"{realm}: status {answer.status_code}, no token; try again later")
    return str(token)
