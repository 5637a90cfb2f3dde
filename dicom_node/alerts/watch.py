"""Watch over the node: one message when something turns wrong, and one when it is right again."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from dicom_node.alerts.channels import Alert, Channel, NotSent
from dicom_node.rounds import repeated

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trouble:
    """Something that is not right."""

    detail: str
    at_once: bool = False
    """Whether it is reported at once; others must have lasted for a while."""


Look = Callable[[], Mapping[str, Trouble]]
"""Returns the present troubles by subject."""


class Watch:
    """Reports changes through one channel; what is not taken is sent again at the next look."""

    def __init__(
        self,
        node: str,
        look: Look,
        channel: Channel,
        *,
        after_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch a node.

        Args:
            node: its AE title.
            look: returns the troubles.
            channel: sends messages.
            after_s: seconds that a trouble must have lasted before it is reported.
            clock: seconds that never run backwards.
        """
        self._node = node
        self._look = look
        self._channel = channel
        self._after_s = after_s
        self._clock = clock
        self._since: dict[str, float] = {}
        self._reported: set[str] = set()

    def step(self) -> None:
        """Look once, and report what has changed."""
        troubles, now = self._look(), self._clock()
        # What is right again is forgotten: its time begins anew.
        self._since = {name: self._since.get(name, now) for name in troubles}
        for name in sorted(troubles.keys() - self._reported):
            trouble = troubles[name]
            lasted = trouble.at_once or now - self._since[name] >= self._after_s
            if lasted and self._send(Alert(self._node, name, False, trouble.detail)):
                self._reported.add(name)
        for name in sorted(self._reported - troubles.keys()):
            if self._send(Alert(self._node, name, True, "Nothing needs to be done.")):
                self._reported.discard(name)

    def _send(self, alert: Alert) -> bool:
        try:
            self._channel(alert)
        except NotSent as error:
            logger.warning(
                "alert not sent, will be tried again: %s: %s",
                *(alert.subject, error),
                extra={"action": "alert_failed"},
            )
            return False
        logger.info("alert sent: %s", alert.line, extra={"action": "alert"})
        return True


@contextmanager
def watching(watches: Mapping[str, Watch], every_s: float) -> Iterator[None]:
    """Look at intervals while the block lasts, each channel in a thread of its own."""

    def run(watch: Watch) -> None:
        try:
            watch.step()
        except Exception:  # the edge of this thread: it must outlive a store that is away
            logger.exception("cannot look for alerts", extra={"action": "alert_failed"})

    with ExitStack() as stack:
        for name, watch in watches.items():
            each = partial(run, watch)
            stack.enter_context(repeated(each, every_s, f"alerts-{name}", first_s=every_s))
        yield
