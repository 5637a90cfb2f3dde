"""The gateways of a cluster, found by their names."""

from dataclasses import dataclass

from dicom_node.config.cluster_section import ClusterSection
from dicom_node.deliver.web_session import WebSession
from dicom_node.errors import GatewayAway
from dicom_node.fetched.transfer.holder import Holder
from dicom_node.fetched.whereabouts import Whereabouts
from dicom_node.receive.header import SeriesKey

CONNECT_S, ANSWER_S = 5.0, 60.0


@dataclass(frozen=True)
class Gateways:
    """How the processes of a cluster call its gateways."""

    whereabouts: Whereabouts
    section: ClusterSection
    connect_s: float = CONNECT_S
    answer_s: float = ANSWER_S

    def named(self, gateway: str) -> Holder:
        """Return a gateway.

        Raises:
            GatewayAway: none of that name was ever started.
        """
        if not (url := self.whereabouts.address(gateway)):
            raise GatewayAway(f"no gateway {gateway} was ever started in this cluster")
        web = WebSession(
            f"gateway {gateway}",
            url,
            token=self.section.secret,
            tls=self.section.trust,
            connect_s=self.connect_s,
            answer_s=self.answer_s,
        )
        return Holder(gateway, web)

    def of_series(self, series: SeriesKey) -> list[str]:
        """Return the names of the gateways that hold instances of a series."""
        return self.whereabouts.holders(series)
