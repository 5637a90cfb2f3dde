"""The UIDs of a result, derived from what it was made of."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
"""RFC 9562, appendix "Namespace IDs": names that are ISO object identifiers."""


@dataclass(frozen=True)
class ResultUids:
    """What the SEG of one series by one model is called."""

    series: str
    """Series Instance UID (0020,000E)."""
    instance: str
    """SOP Instance UID (0008,0018)."""
    dimensions: str
    """Dimension Organization UID (0020,9164)."""


def result_uids(instance_uids: Iterable[str], model_digest: str) -> ResultUids:
    """Return the UIDs of the result of a model on a set of source instances.

    The same sources in any order, and the same model, give the same UIDs; one instance more or
    less, or another model, gives others. They are 2.25 and a name-based UUID (PS3.5 B.2).

    Raises:
        ValueError: there is no source instance.
    """
    sources = sorted(set(instance_uids))
    if not sources:
        raise ValueError("no source instance to derive UIDs from")
    made_of = "\n".join([*sources, model_digest])
    return ResultUids(
        *(_uid(f"{made_of}\n{role}") for role in ("series", "instance", "dimensions"))
    )


def _uid(name: str) -> str:
    return f"2.25.{uuid.uuid5(NAMESPACE, name).int}"
