"""New work of a gateway: the associations that it accepts, and the series that come in."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from dicom_node.cluster.arrivals import Arrivals
from dicom_node.cluster.shared_assembler import SharedAssembler


@dataclass
class GatewayIntake:
    """Closes a gateway to new associations; those that are open end, and their series are jobs."""

    arrivals: Arrivals
    _closed: threading.Event = field(default_factory=threading.Event)
    _assembler: SharedAssembler | None = None
    _associations: Callable[[], int] = lambda: 0

    def closed(self) -> bool:
        """Return whether associations are rejected."""
        return self._closed.is_set()

    def watch(self, assembler: SharedAssembler, associations: Callable[[], int]) -> None:
        """Count what is left by these from now on."""
        self._assembler, self._associations = assembler, associations

    def stop(self) -> None:
        """Accept no association, and take over no part of a gateway that died."""
        self._closed.set()
        if self._assembler:
            self._assembler.adopts = False

    def go_on(self) -> None:
        """Accept associations."""
        self._closed.clear()
        if self._assembler:
            self._assembler.adopts = True

    def is_empty(self) -> bool:
        """Return whether no association is open, and every series was handed over."""
        if self._assembler is None or self._associations() or self._assembler.arriving():
            return False
        # In this order: a series that is handed over arrives no more.
        return not self._assembler.busy_s and not self.arrivals.mine()
