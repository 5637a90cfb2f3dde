"""The UIDs of a result, derived from what it was made of."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
"""RFC 9562, appendix "Namespace IDs": names that are ISO object identifiers."""


@dataclass(frozen=True)
class ResultUids:
    """What one object made of one series by one model is called."""

    series: str
    """Series Instance UID (0020,000E)."""
    instance: str
    """SOP Instance UID (0008,0018)."""
    dimensions: str
    """Dimension Organization UID (0020,9164)."""


def result_uids(instance_uids: Iterable[str], model_digest: str, kind: str = "") -> ResultUids:
    """Return the UIDs of a result of a model on a set of source instances.

    The same sources in any order, and the same model, give the same UIDs; one instance more or
    less, another model, or another kind of object gives others. They are 2.25 and a name-based
    UUID (PS3.5 B.2).

    Args:
        instance_uids: of the sources.
        model_digest: of the model folder.
        kind: what tells this object from the others of the same work; nothing for the SEG.

    Raises:
        ValueError: there is no source instance.
    """
    sources = sorted(set(instance_uids))
    if not sources:
        raise ValueError("no source instance to derive UIDs from")
    made_of = "\n".join([*sources, model_digest, *([kind] if kind else [])])
    return ResultUids(
        *(_uid(f"{made_of}\n{role}") for role in ("series", "instance", "dimensions"))
    )


def derived_uid(*made_of: str) -> str:
    """Return the UID of what these words name, always the same."""
    return _uid("\n".join(made_of))


def _uid(name: str) -> str:
    return f"2.25.{uuid.uuid5(NAMESPACE, name).int}"
