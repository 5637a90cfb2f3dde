"""Deliver one object: send, confirm, and decide when to ask again, send again or give up.

Everything that touches a peer, the clock or the workflow store is passed in, so these rules run
under DBOS, which replays them after a crash, and in tests, without waiting.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from dicom_node.errors import CredentialsRefused, NotFindable, PeerUnavailable

SEARCH_S = 600.0
"""A search may miss a stored object for this long before a second copy is sent: archives index
late, and some delete an object that comes twice in a row (dcm4chee-arc-light 4754, 4969)."""

MAX_COPIES = 3
"""Copies of one object that a peer is sent. One that renames what it receives keeps each of them
as another object."""

CREDENTIAL_TRIES = 3
"""Attempts with refused credentials; more could lock the account."""

LONGEST_WAIT_S = 86400.0
"""Longest Retry-After that is honoured."""


class Missing(StrEnum):
    """Evidence that a peer lacks an object that it accepted."""

    NO = ""
    NOT_FOUND = "not found"
    """A search does not show it, yet."""
    DENIED = "denied"
    """The peer reported that it does not have it."""


class _Answer:
    """An answer that the workflow store keeps as JSON."""

    def to_json(self) -> dict[str, Any]:
        """Return the answer in JSON's own types."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the answer that `to_json` wrote; keys of other versions are ignored."""
        # A job may outlive an update: the store holds what another version wrote.
        known = cls.__dataclass_fields__  # type: ignore[attr-defined]
        return cls(**{key: value for key, value in stored.items() if key in known})


@dataclass(frozen=True)
class SendAnswer(_Answer):
    """Outcome of one attempt to send."""

    refused: str = ""
    """Why the peer did not accept the object now; empty: it did."""
    seconds: float = 0.0
    wait_s: float = 0.0
    """Pause that the peer asked for (Retry-After)."""
    credentials: bool = False
    """Whether the peer refused the credentials."""
    changed: str = ""
    """Warning of a peer that stored the object with other attributes, perhaps another UID."""


@dataclass(frozen=True)
class ConfirmAnswer(_Answer):
    """Outcome of one request for confirmation."""

    refused: str = ""
    """Why the object is not confirmed yet; empty: it is."""
    wait_s: float = 0.0
    credentials: bool = False
    missing: str = Missing.NO
    by: str = ""
    """Means of confirmation."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the answer that `to_json` wrote; 0.1 wrote "lost" where a peer denied it."""
        lost = {"missing": Missing.DENIED} if stored.get("lost") else {}
        return super().from_json({**lost, **stored})


@dataclass(frozen=True)
class Steps:
    """Next action of a delivery."""

    send: Callable[[], SendAnswer]
    confirm: Callable[[], ConfirmAnswer]
    pauses: Callable[[], Iterator[float]]
    """Seconds to wait after each failure; the end of them is the end of the delivery."""
    sleep: Callable[[float], None]


@dataclass(frozen=True)
class Delivered(_Answer):
    """A confirmed delivery."""

    attempts: int = 0
    seconds: float = 0.0
    """Of the transfer that was confirmed."""
    confirmed: str = ""


def deliver(peer: str, steps: Steps) -> Delivered:
    """Send an object until the peer confirms it.

    Raises:
        PeerUnavailable: the peer did not accept or confirm it in time.
        CredentialsRefused: the peer refused the credentials again and again.
        NotFindable: the peer accepted copies, and none can be found there.
        PeerRefused: raised by a step: the peer will never accept or confirm the object.
    """
    attempts = _Attempts(peer, steps)
    for copy in range(1, MAX_COPIES + 1):
        sent = attempts.send()
        answer = attempts.confirm(sent, last=copy == MAX_COPIES)
        if not answer.refused:
            return Delivered(attempts.count, sent.seconds, answer.by)
    raise NotFindable(
        f"{peer} accepted {MAX_COPIES} copies, and none can be found there: {answer.refused};"
        " see the peer's log"
    )


class _Attempts:
    """Attempts of one delivery so far."""

    def __init__(self, peer: str, steps: Steps) -> None:
        self.count = 0
        self._peer = peer
        self._steps = steps
        self._refused_credentials = 0

    def send(self) -> SendAnswer:
        """Return once the peer accepts the object."""
        for pause in self._steps.pauses():
            self.count += 1
            answer = self._steps.send()
            if not answer.refused:
                return answer
            self._count_credentials(answer)
            self._sleep(pause, answer)
        raise PeerUnavailable(f"gave up on {self._peer}: {answer.refused}")

    def confirm(self, sent: SendAnswer, *, last: bool) -> ConfirmAnswer:
        """Return once the object is confirmed, or missing so that another copy is due.

        A peer that changed the object is never sent another copy: it would keep both.
        """
        searched_s = 0.0
        # From the first, short pause again: that the object was accepted shows that the peer is
        # there.
        for pause in self._steps.pauses():
            answer = self._steps.confirm()
            if not answer.refused:
                return answer
            self._count_credentials(answer)
            denied = answer.missing == Missing.DENIED and not sent.changed
            searched = bool(answer.missing) and searched_s >= SEARCH_S
            if searched and sent.changed:
                raise NotFindable(
                    f"{self._peer} changed the object when it accepted it ({sent.changed}), and"
                    f" {answer.refused}; let the peer keep UIDs as they are, or set its confirm"
                    ' to "none"'
                )
            # No pause after the last copy: there is nothing left to wait for.
            if searched or (denied and last):
                return answer
            # Also before another copy, which a peer that has just failed would fail with too.
            slept_s = self._sleep(pause, answer)
            if denied:
                return answer
            # Pauses, not the clock: a replay after a crash must decide as the first time. And only
            # those that followed a search: a peer that was away has had no time to index.
            searched_s += slept_s if answer.missing else 0.0
            self.count += 1
        raise PeerUnavailable(f"gave up on {self._peer}: {answer.refused}")

    def _count_credentials(self, answer: SendAnswer | ConfirmAnswer) -> None:
        # Never set back: two refusals and a success in turn would lock an account as well.
        self._refused_credentials += answer.credentials
        if self._refused_credentials >= CREDENTIAL_TRIES:
            raise CredentialsRefused(
                f"credentials: {answer.refused}; then run"
                f" `hepar jobs retry --failed --peer {self._peer}`"
            )

    def _sleep(self, pause: float, answer: SendAnswer | ConfirmAnswer) -> float:
        seconds = max(pause, min(answer.wait_s, LONGEST_WAIT_S))
        self._steps.sleep(seconds)
        return seconds
