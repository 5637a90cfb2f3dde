"""Callers that the receiver admits: by AE title and network."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address


@dataclass(frozen=True)
class Caller:
    """A caller that is admitted."""

    ae_title: str
    """Calling AE title."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks from which it calls; from anywhere where there are none."""
    called: str = ""
    """AE title that it calls; any where empty."""

    def matches(self, calling: str, called: str, host: str) -> bool:
        """Return whether an association request is this caller's."""
        if calling != self.ae_title or (self.called and called != self.called):
            return False
        address = ip_address(host)
        mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:10.0.0.1 on a dual-stack socket
        return not self.networks or any((mapped or address) in each for each in self.networks)


def is_admitted(callers: Collection[Caller], calling: str, called: str, host: str) -> bool:
    """Return whether a request is that of one of these callers; anybody's where there are none."""
    return not callers or any(each.matches(calling, called, host) for each in callers)
