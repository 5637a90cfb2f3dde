"""Model that serves: that of the configuration, or one that was promoted in its place.

A promoted model is copied into the data folder, so that it stays what was compared whatever becomes
of the folder it was trained in. The record names the configuration's model that it took the place
of: once `engine.model` is changed there, the configuration holds again.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dicom_node.data_folder import DataFolder
from dicom_node.errors import BadConfiguration
from engine.durable_files import sync_folder, write_durably
from engine.errors import EngineError
from engine.model import Model, load_model
from engine.shipped import model_folder

RECORD = "serving.json"
PART = ".part"


@dataclass(frozen=True)
class Promotion:
    """Record of the promoted model."""

    configured: str
    """`engine.model` when it was promoted; empty where that was absent."""
    serving: str
    """Name of the folder in `models` that serves; empty: the configuration's model."""
    previous: str
    """The one before, for `hepar model rollback`; likewise."""


def read_promotion(configured: Path | None, data: DataFolder) -> Promotion | None:
    """Return the record; None where there is none, or the configuration was changed since.

    Raises:
        BadConfiguration: the record is damaged.
    """
    path = data.models / RECORD
    try:
        found = Promotion(**json.loads(path.read_bytes()))
        folders = found.serving, found.previous
        if any(Path(each).name != each for each in folders):
            raise ValueError
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise BadConfiguration(
            f"{path} cannot be read ({type(error).__name__}), so it is unknown which model serves;"
            " remove it to serve engine.model, then promote again"
        ) from error
    return found if found.configured == _named(configured) else None


def served_folder(configured: Path | None, data: DataFolder) -> Path:
    """Return the folder of the model that serves.

    Args:
        configured: `engine.model`.
        data: of the node.

    Raises:
        BadConfiguration: the record is damaged, or the promoted model is gone.
    """
    promotion = read_promotion(configured, data)
    if promotion is None or not promotion.serving:
        return model_folder(configured)
    folder = data.models / promotion.serving
    if not folder.is_dir():
        raise BadConfiguration(
            f"the promoted model {folder} is gone; bring it back, or run `hepar model rollback`"
        )
    return folder


def promote(model: Model, configured: Path | None, data: DataFolder) -> Promotion:
    """Let a model serve from the next start of the node on; once this returns, a crash keeps it.

    Raises:
        BadConfiguration: the data folder cannot be written, or the record in it is damaged.
    """
    before = read_promotion(configured, data)
    name = f"{model.name}-{model.digest[:12]}"
    try:
        data.models.mkdir(parents=True, exist_ok=True)
        _copy(model, data.models / name)
        made = Promotion(_named(configured), name, before.serving if before else "")
        _write(made, data)
    except OSError as error:
        raise BadConfiguration(
            f"cannot write to {data.models}: {error.strerror or type(error).__name__}; nothing is"
            " changed"
        ) from error
    _remove_others(made, data)
    return made


def roll_back(configured: Path | None, data: DataFolder) -> Promotion:
    """Let the model serve that did before; twice is back at the promoted one.

    Raises:
        BadConfiguration: nothing was promoted, the model before is gone, or as `promote`.
    """
    now = read_promotion(configured, data)
    if now is None:
        raise BadConfiguration(
            "no model was promoted under this engine.model, so there is none to go back to; to"
            " serve another model, name it as engine.model and restart the node"
        )
    back = replace(now, serving=now.previous, previous=now.serving)
    if back.serving:
        load_model(data.models / back.serving)  # raises where it is damaged
    else:
        load_model(model_folder(configured))
    try:
        _write(back, data)
    except OSError as error:
        raise BadConfiguration(f"cannot write to {data.models}: {error.strerror}") from error
    return back


def _named(configured: Path | None) -> str:
    return "" if configured is None else str(configured)


def _write(promotion: Promotion, data: DataFolder) -> None:
    content = json.dumps(asdict(promotion), indent=2)
    write_durably(data.models / RECORD, f"{content}\n".encode())


def _copy(model: Model, target: Path) -> None:
    """Copy a model folder so that a crash leaves all of it under its name, or nothing."""
    if target.is_dir() and _is_whole(target, model.digest):
        return
    part = target.with_name(target.name + PART)
    for old in (part, target):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(model.folder, part)
    if not _is_whole(part, model.digest):
        shutil.rmtree(part, ignore_errors=True)
        raise OSError(0, f"{model.folder} changed while it was copied")
    for path in part.rglob("*"):
        if path.is_dir():
            sync_folder(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(part)
    part.rename(target)
    sync_folder(target.parent)


def _is_whole(folder: Path, digest: str) -> bool:
    try:
        return load_model(folder).digest == digest
    except EngineError:
        return False


def _remove_others(promotion: Promotion, data: DataFolder) -> None:
    """Remove promoted models that neither serve nor are the one before."""
    kept = {promotion.serving, promotion.previous}
    for folder in data.models.iterdir():
        if folder.is_dir() and folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)
