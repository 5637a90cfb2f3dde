"""A folder of plans.

<name>.plan      a built engine
<name>.json      its manifest, written after it: without one there is no plan
serving.json     which plans serve
*.timing         what builds for one GPU architecture and TensorRT measured
*.kernels        what TensorRT for RTX compiled of a plan on the GPU here
build.lock       held by who builds
switch.lock      held for the moment of a switch
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from pydantic import ValidationError

from engine.durable_files import PART, make_folder_durably, write_durably
from engine.errors import BrokenPlan, BuildInProgress, UnknownPlan, UnverifiedPlan
from engine.plans.key import PlanKey
from engine.plans.lock import locked
from engine.plans.plan import Check, Plan, PlanManifest, State
from engine.plans.serving import (
    READABLE,
    SERVING,
    Serving,
    Slot,
    read_serving,
    write_serving,
)


class PlanStore:
    """Plans, and which of them serve."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plans(self) -> list[Plan]:
        """Return every plan whose manifest can be read, the oldest first."""
        serving = read_serving(self.folder)
        manifests = [self._manifest(path) for path in self._manifests()]
        found = [self._plan(each, serving) for each in manifests if isinstance(each, PlanManifest)]
        return sorted(found, key=lambda plan: plan.manifest.built)

    def unreadable(self) -> dict[Path, str]:
        """Return the manifests that make no sense, with the reason."""
        read = {path: self._manifest(path) for path in self._manifests()}
        return {path: why for path, why in read.items() if isinstance(why, str)}

    def find(self, name: str) -> Plan:
        """Return the plan whose name is, begins or ends with `name`.

        Raises:
            UnknownPlan: there is none, or more than one.
        """
        # The end is the digest of the content, the shortest part that is unique.
        named = [p for p in self.plans() if p.name.startswith(name) or p.name.endswith(name)]
        # One name may be the beginning of another.
        exact = [plan for plan in named if plan.name == name] or named
        if len(exact) != 1:
            raise UnknownPlan(
                f"{len(exact) or 'no'} plans in {self.folder} are called {name!r}: "
                "`hepar engine list` shows all names"
            )
        return exact[0]

    def active(self, slot: str) -> Plan | None:
        """Return the plan that serves a slot, if any does.

        Raises:
            UnknownPlan: the one that should is gone.
            UnverifiedPlan: the one that should was rejected since.
        """
        now = read_serving(self.folder).slots.get(slot)
        if now is None:
            return None
        plan = self.find(now.active)
        _require_passed(plan)
        return plan

    def load(self, plan: Plan) -> bytes:
        """Return a plan's bytes, after comparing them with its manifest.

        Raises:
            BrokenPlan: they are others.
        """
        would_do = f"build it again with `hepar engine build`, and prune {plan.name}"
        try:
            content = plan.path.read_bytes()
        except OSError as error:
            raise BrokenPlan(f"cannot read {plan.path} ({error.strerror}): {would_do}") from error
        # Before the digest: a cut file is the usual damage, and this message names it.
        if len(content) != plan.manifest.size:
            raise BrokenPlan(
                f"{plan.path} has {len(content)} bytes, its manifest says {plan.manifest.size}: "
                f"{would_do}"
            )
        found = hashlib.sha256(content).hexdigest()
        if found != plan.manifest.sha256:
            raise BrokenPlan(
                f"{plan.path} is not what was built: SHA-256 {found[:12]}… != "
                f"{plan.manifest.sha256[:12]}…: {would_do}"
            )
        return content

    @contextmanager
    def building(self) -> Iterator[None]:
        """Be the only one who builds while the block lasts; what an earlier one left is removed.

        Raises:
            BuildInProgress: another process builds here.
        """
        make_folder_durably(self.folder)
        try:
            # Order of the locks: build, then switch, never the other way.
            with locked(self.folder / "build.lock", wait=False):
                # Only the holder of the build lock: anybody else's plan may still be without its
                # manifest.
                self._sweep()
                yield
        except BlockingIOError as error:
            raise BuildInProgress(
                f"another process builds in {self.folder}: wait for it, or stop it"
            ) from error

    def timing_file(self, key: PlanKey) -> Path:
        """Return where builds like this one keep what they measured."""
        return self.folder / f"{key.architecture}-{key.flavour}-{key.version}.timing"

    def kernels_file(self, plan: Plan) -> Path:
        """Return where a device keeps what it compiled of a plan."""
        return self.folder / f"{plan.name}.kernels"

    def keep(self, manifest: PlanManifest, content: bytes) -> Plan:
        """Keep a built plan; it is there once this returns, and not at all before."""
        if not (self.folder / f"{manifest.name}.json").exists():  # the same bytes may come twice
            write_durably(self.folder / f"{manifest.name}.plan", content, mode=READABLE)
            self._write(manifest)
        return self.find(manifest.name)

    def record_check(self, plan: Plan, check: Check) -> Plan:
        """Keep what came of holding a plan against the reference.

        Nodes that a plan serves look again when it is rejected, and leave it.
        """
        with self._switching():
            self._write(plan.manifest.model_copy(update={"check": check}))
            serving = read_serving(self.folder)
            # Written unchanged on purpose: running nodes watch the file's stamp
            # (engine/serving/fleet.py).
            if not check.passed and plan.name in serving.names:
                write_serving(self.folder, serving)
        return self.find(plan.name)

    def activate(self, name: str) -> Plan:
        """Let a plan serve from now on.

        Raises:
            UnverifiedPlan: it has not passed the gate.
            BrokenPlan: its bytes are not what was built.
        """
        name = self.find(name).name
        with self._switching():  # nobody removes it meanwhile
            plan = self.find(name)
            _require_passed(plan)
            self.load(plan)
            serving = read_serving(self.folder)
            write_serving(self.folder, serving.activated(plan.key.slot, plan.name))
        return self.find(plan.name)

    def rollback(self, slot: str) -> Plan:
        """Let the plan serve again that did before; the other can be gone back to in turn.

        Raises:
            UnknownPlan: there is none to go back to.
            UnverifiedPlan, BrokenPlan: it can no longer serve.
        """
        with self._switching():
            serving = read_serving(self.folder)
            now = serving.slots.get(slot)
            if now is None or now.previous is None:
                raise UnknownPlan(f"no plan served {slot} before: activate one by its name")
            plan = self.find(now.previous)
            _require_passed(plan)
            self.load(plan)
            back = Slot(active=plan.name, previous=now.active)
            write_serving(self.folder, Serving(slots={**serving.slots, slot: back}))
        return self.find(plan.name)

    def slots(self) -> dict[str, Slot]:
        """Return which plans serve, and which did before."""
        return read_serving(self.folder).slots

    def prune(self, useless: Callable[[Plan], bool]) -> list[Plan]:
        """Remove plans, but none that serves or can be gone back to; return the removed."""
        with self.building(), self._switching():
            idle = [p for p in self.plans() if p.state not in (State.ACTIVE, State.PREVIOUS)]
            removed = [plan for plan in idle if useless(plan)]
            for plan in removed:
                (self.folder / f"{plan.name}.json").unlink()  # first: then it is no plan any more
                plan.path.unlink(missing_ok=True)
                self.kernels_file(plan).unlink(missing_ok=True)
        return removed

    def of_key(self, key: PlanKey) -> Plan | None:
        """Return the newest plan of a key that was not rejected."""
        good = [p for p in self.plans() if p.key == key and p.state is not State.REJECTED]
        return good[-1] if good else None

    def _manifests(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.json") if path.name != SERVING)

    def _manifest(self, path: Path) -> PlanManifest | str:
        """Return a manifest, or why there is none."""
        try:
            manifest = PlanManifest.model_validate_json(path.read_bytes())
        except (ValidationError, OSError) as error:
            return f"cannot be read: {error}"
        # A copied or renamed manifest would describe another file's content.
        if manifest.name != path.stem:
            return f"is the manifest of {manifest.name}"
        return manifest

    def _plan(self, manifest: PlanManifest, serving: Serving) -> Plan:
        return Plan(manifest, self.folder / f"{manifest.name}.plan", _state(manifest, serving))

    def _write(self, manifest: PlanManifest) -> None:
        path = self.folder / f"{manifest.name}.json"
        write_durably(path, manifest.model_dump_json(indent=2).encode() + b"\n", mode=READABLE)

    def _switching(self) -> AbstractContextManager[None]:
        return locked(self.folder / "switch.lock", wait=True)

    def _sweep(self) -> None:
        """Remove what an interrupted build left: it is no plan."""
        with self._switching():  # nobody else has a part under way
            for part in self.folder.glob(f"*{PART}"):
                part.unlink()
        for content in self.folder.glob("*.plan"):
            if not content.with_suffix(".json").exists():
                content.unlink()


def _state(manifest: PlanManifest, serving: Serving) -> State:
    # The check comes first: a rejected plan is rejected, even while serving.json names it.
    slot = serving.slots.get(manifest.key.slot)
    if manifest.check is not None and not manifest.check.passed:
        return State.REJECTED
    if slot is not None and manifest.name == slot.active:
        return State.ACTIVE
    if slot is not None and manifest.name == slot.previous:
        return State.PREVIOUS
    return State.BUILT if manifest.check is None else State.VERIFIED


def _require_passed(plan: Plan) -> None:
    check = plan.manifest.check
    if check is None:
        raise UnverifiedPlan(
            f"{plan.name} was never held against the reference: `hepar engine verify {plan.name}`"
        )
    if not check.passed:
        raise UnverifiedPlan(f"{plan.name} was rejected: {'; '.join(check.faults)}: build another")
