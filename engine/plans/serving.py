"""Which plan serves, and which did before: one small file, replaced as a whole."""

from pathlib import Path

from pydantic import ValidationError

from engine.durable_files import write_durably
from engine.errors import BrokenPlan
from engine.plans.key import Part

SERVING = "serving.json"


class Slot(Part):
    """The plans of one GPU architecture and model."""

    active: str
    previous: str | None = None


class Serving(Part):
    """The whole of the file; absent slots have no active plan."""

    slots: dict[str, Slot] = {}

    def activated(self, slot: str, name: str) -> "Serving":
        """Return this with another plan active; the one before can be gone back to."""
        now = self.slots.get(slot)
        if now is None or now.active == name:
            changed = now or Slot(active=name)
        else:
            changed = Slot(active=name, previous=now.active)
        return Serving(slots={**self.slots, slot: changed})

    @property
    def names(self) -> set[str]:
        """Plans that serve or may be gone back to."""
        kept = {name for slot in self.slots.values() for name in (slot.active, slot.previous)}
        return {name for name in kept if name is not None}


def read_serving(folder: Path) -> Serving:
    """Return what serves out of a folder of plans.

    Raises:
        BrokenPlan: the file is there, and makes no sense.
    """
    path = folder / SERVING
    try:
        return Serving.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Serving()
    except (ValidationError, OSError) as error:
        raise BrokenPlan(
            f"cannot read {path}: {error}: remove it and activate a plan again"
        ) from error


def write_serving(folder: Path, serving: Serving) -> None:
    """Let another set of plans serve, from one moment to the next."""
    write_durably(folder / SERVING, serving.model_dump_json(indent=2).encode() + b"\n")
