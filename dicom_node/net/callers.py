"""Callers that the receiver admits, and what each of them may do."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import chain
from ssl import SSLSocket
from typing import Any

MOST_WEIGHT = 100
"""Of a caller."""


class Service(StrEnum):
    """What a caller may do."""

    STORE, ECHO, COMMITMENT = "store", "echo", "commitment"


@dataclass(frozen=True)
class Caller:
    """A caller that is admitted."""

    ae_title: str
    """Calling AE title."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks from which it calls; from anywhere where there are none."""
    called: str = ""
    """AE title that it calls; any where empty."""
    certificate: str = ""
    """Name in its TLS certificate; any where empty."""
    may: frozenset[Service] = frozenset(Service)
    """What it may do: send instances, verify, report on storage commitment."""
    rate: float | None = None
    """Instances a second, on all its associations together; as many as it likes where None."""
    weight: int = 1
    """Its share where series of several callers wait."""

    def matches(self, shown: "CallerIdentity") -> bool:
        """Return whether it is this caller who shows that."""
        if shown.calling != self.ae_title or (self.called and shown.called != self.called):
            return False
        if self.certificate and self.certificate not in shown.names:
            return False
        return not self.networks or is_within(shown.host, self.networks)


ANYBODY = Caller("")
"""Stands for every caller where none is configured."""


@dataclass(frozen=True)
class CallerIdentity:
    """What a caller shows of itself, with an association's request or over HTTP."""

    calling: str
    called: str
    host: str
    """IP address."""
    names: Collection[str] = ()
    """Names in the verified certificate of the caller."""


def find_caller(callers: Collection[Caller], shown: CallerIdentity) -> Caller | None:
    """Return the first caller who shows that; None where none of them does."""
    if not callers:
        return ANYBODY
    return next((each for each in callers if each.matches(shown)), None)


def is_within(host: str, networks: Collection[IPv4Network | IPv6Network]) -> bool:
    """Return whether an IP address is in one of these networks."""
    address = ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:10.0.0.1 on a dual-stack socket
    return any((mapped or address) in each for each in networks)


def certificate_names(connection: object) -> frozenset[str]:
    """Return common name and alternative names in the certificate that a caller has shown.

    None of them without TLS, or where callers need no certificate: it is not verified then.
    """
    certificate: Any = connection.getpeercert() if isinstance(connection, SSLSocket) else None
    if not certificate:
        return frozenset()
    names = [value for _, value in certificate.get("subjectAltName", ())]
    for kind, value in chain.from_iterable(certificate.get("subject", ())):
        if kind == "commonName":
            names.append(value)
    return frozenset(names)
