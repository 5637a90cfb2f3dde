"""Building of a plan in a separate process.

A node keeps serving meanwhile, and if TensorRT crashes, only the build is lost.
"""

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

from engine.devices.quantized import quantized_graph
from engine.devices.tensorrt.builder import build_engine
from engine.devices.tensorrt.library import Library, load_tensorrt
from engine.errors import BuildFailed, EngineError
from engine.model import Model, load_model
from engine.plans.key import PlanKey, Precision, differences
from engine.plans.plan import Plan, PlanManifest
from engine.plans.store import PlanStore

Progress = Callable[[str, int, int], None]
"""Called with TensorRT's current phase, the steps done in it, and their total."""


@dataclass(frozen=True)
class Request:
    """A plan to build, and the store to keep it in."""

    model: Path
    """Model folder."""
    plans: Path
    """Folder of the store."""
    key: PlanKey


def why_build(store: PlanStore, key: PlanKey) -> str:
    """Return why a plan of this key must be built; empty if there is a usable one."""
    if store.of_key(key) is not None:
        return ""
    alike = [plan for plan in store.plans() if plan.key.architecture == key.architecture]
    if not alike:
        return f"there is no plan for {key.architecture} yet"
    if same := [plan for plan in alike if plan.key == key]:
        return f"{same[-1].name} was rejected"
    # Of equally near plans the newest: `min` takes the first, and the list has the oldest first.
    nearest = min(reversed(alike), key=lambda plan: len(differences(plan.key, key)))
    return f"{nearest.name} was {'; '.join(differences(nearest.key, key))}"


def build_plan(request: Request, progress: Progress | None = None) -> Plan:
    """Build a plan in this process and add it to the store.

    Raises:
        BuildInProgress: another process is building in the same folder.
        BuildFailed: TensorRT failed, or the disk is full; nothing was kept.
        LibraryMissing, ModelNotFound, BrokenModel: the build could not start.
    """
    model = load_model(request.model)
    library = load_tensorrt(request.key.flavour)
    # Read anew in this process: files may have been replaced since the key was made.
    _require_same(request.key, model, library)
    store = PlanStore(request.plans)
    try:
        with store.building():
            return _build(request, model, library, store, progress)
    except OSError as error:
        raise BuildFailed(
            f"cannot build a plan in {request.plans}: {error.strerror or error}; free space there, "
            "or choose another folder"
        ) from error


def _build(
    request: Request, model: Model, library: Library, store: PlanStore, progress: Progress | None
) -> Plan:
    begun = perf_counter()
    with _graph(model, request.key.precision) as graph:
        timing = store.timing_file(request.key)
        content = build_engine(library, graph, request.key, progress, timing=timing)
    manifest = PlanManifest(
        key=request.key,
        model=f"{model.name} {model.version}",
        sha256=sha256(content).hexdigest(),
        size=len(content),
        seconds=round(perf_counter() - begun, 3),
        built=datetime.now(UTC),
        hepar=_hepar_version(),
    )
    return store.keep(manifest, content)


def _hepar_version() -> str:
    try:
        return version("hepar")
    except PackageNotFoundError:  # a source tree on the path, not installed
        return "unknown"


@contextmanager
def _graph(model: Model, precision: Precision) -> Iterator[Path]:
    """Yield the graph to parse. int8 is part of the ONNX file; float16 is applied later."""
    if precision is not Precision.INT8:
        yield model.graph
        return
    with tempfile.TemporaryDirectory(prefix="hepar-int8-") as folder:
        graph = Path(folder) / model.graph.name
        graph.write_bytes(quantized_graph(model, symmetric=True))
        yield graph


def build_in_process(request: Request, progress: Progress | None = None) -> Plan:
    """Build a plan in a separate process and return it.

    The process ends when this call ends, for whatever reason, and when this process ends.

    Raises:
        BuildFailed: the process died before the plan was built.
        EngineError: as `build_plan`.
    """
    report = progress or (lambda phase, done, of: None)
    # Not forked: CUDA cannot be used in a child of a process that has initialised it.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_build_and_send, args=(request, theirs), daemon=True)
    process.start()
    # Or the end of the process would not end `recv`, as this process could still write.
    theirs.close()
    try:
        while isinstance(news := ours.recv(), tuple):
            report(*news)
    except EOFError as error:
        process.join()
        raise BuildFailed(
            f"the process building {request.key.name} died with exit code {process.exitcode}; "
            "nothing was kept; check for lack of memory, then build again"
        ) from error
    finally:
        # After Ctrl-C or an error here, the build would go on for minutes. After success the plan
        # is on the disk, so nothing is lost.
        process.kill()
        process.join()
        ours.close()
    if isinstance(news, EngineError):
        raise news
    # From the disk: only the name crossed the pipe.
    return PlanStore(request.plans).find(str(news))


def _build_and_send(request: Request, connection: Connection) -> None:
    """Build, sending progress as tuples, then the plan's name or the error."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        plan = build_plan(request, lambda *news: connection.send(news))
    except EngineError as error:
        connection.send(error)
    else:
        connection.send(plan.name)


def _end_with_parent() -> None:
    # A daemon process is only ended by a clean exit of its parent, not by kill -9.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        # Not sys.exit, which ends this thread only, and the main one may be deep in TensorRT.
        os._exit(1)


def _require_same(key: PlanKey, model: Model, library: Library) -> None:
    found = key.model_copy(update={"model": model.digest, "version": library.version})
    if wrong := differences(key, found):
        raise BuildFailed(
            f"the model or TensorRT changed since the request: {'; '.join(wrong)}; build again"
        )
