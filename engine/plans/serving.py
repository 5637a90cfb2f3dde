"""Active and previous plan of each slot: `serving.json`, replaced atomically."""

from pathlib import Path

from pydantic import ValidationError

from engine.durable_files import write_durably
from engine.errors import BrokenPlan
from engine.plans.key import Part

SERVING = "serving.json"

READABLE = 0o644
"""Permissions of the store's files: root may build what the node's user serves."""


class Slot(Part):
    """Active and previous plan of one GPU architecture and model."""

    active: str
    previous: str | None = None


class Serving(Part):
    """Contents of the file; a slot that is absent has no active plan."""

    slots: dict[str, Slot] = {}

    def activated(self, slot: str, name: str) -> "Serving":
        """Return a copy with another plan active; the current one becomes the previous."""
        now = self.slots.get(slot)
        # Activated twice: the previous one stays, or a rollback would lead to the same plan.
        if now is None or now.active == name:
            changed = now or Slot(active=name)
        else:
            changed = Slot(active=name, previous=now.active)
        return Serving(slots={**self.slots, slot: changed})

    @property
    def names(self) -> set[str]:
        """Names of all active and previous plans."""
        kept = {name for slot in self.slots.values() for name in (slot.active, slot.previous)}
        return {name for name in kept if name is not None}


def read_serving(folder: Path) -> Serving:
    """Return the active plans of a folder.

    Raises:
        BrokenPlan: the file exists but cannot be read.
    """
    path = folder / SERVING
    try:
        return Serving.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Serving()
    except (ValidationError, OSError) as error:
        raise BrokenPlan(
            f"cannot read {path}: {error}; remove it and activate a plan again"
        ) from error


def write_serving(folder: Path, serving: Serving) -> None:
    """Replace the set of active plans atomically."""
    write_durably(
        folder / SERVING, serving.model_dump_json(indent=2).encode() + b"\n", mode=READABLE
    )
