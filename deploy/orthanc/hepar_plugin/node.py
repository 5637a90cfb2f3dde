"""Jobs of a study, read from the node over HTTP."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

# Orthanc's page waits for it.
TIMEOUT_S = 3.0


@dataclass(frozen=True)
class NodeState:
    """Jobs on a study, or the reason why they are unknown."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    """As `/jobs` returns them, the oldest first."""
    trouble: str = ""
    """Why the node could not be asked; empty if it could."""


def ask_node(state_url: str | None, study_uid: str) -> NodeState:
    """Return the node's state for a study; a node that is away is a state too."""
    if not state_url:
        return NodeState(trouble="Hepar.StateUrl is not configured")
    try:
        with urllib.request.urlopen(
            f"{state_url.rstrip('/')}/jobs?study={quote(study_uid)}", timeout=TIMEOUT_S
        ) as reply:
            return NodeState(json.load(reply))
    except (OSError, ValueError) as error:  # refused, timed out, or not JSON
        return NodeState(trouble=f"the node does not report its state: {error}")
