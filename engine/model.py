"""Model folders: loading, and verification of their files by digest."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from engine.errors import BrokenModel, ModelNotFound
from engine.manifest import CONTRACT, Manifest, ModelClass

MANIFEST = "model.json"
GRAPH = "ensemble.onnx"
PROGRAM = "ensemble.pt2"
"""The same graph as a `torch.export` program; optional."""
REFERENCE = "reference.npz"


@dataclass(frozen=True)
class Model:
    """A model folder whose files all match the digests in its manifest."""

    folder: Path
    manifest: Manifest
    digest: str
    """SHA-256 of the manifest, in hex. The manifest holds every file's digest, so this identifies
    the whole model."""

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Version of the model."""
        return self.manifest.version

    @property
    def contract(self) -> int:
        """Version of the graph contract that the graph follows."""
        return self.manifest.contract

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the networks whose outputs are fused."""
        return self.manifest.members

    @property
    def classes(self) -> tuple[ModelClass, ...]:
        """Segmented classes, by ascending label."""
        return self.manifest.classes

    @property
    def working_spacing_mm(self) -> float:
        """Pixel spacing at which the members process a slice."""
        return self.manifest.working.spacing_mm

    @property
    def neighbours(self) -> int:
        """Adjacent slices on each side that the answer to a slice depends on."""
        return self.manifest.working.neighbours

    @property
    def liver_hu(self) -> float | None:
        """Level of the livers that the members learnt from; None: volumes stay as scanned."""
        return self.manifest.working.liver_hu

    @property
    def graph(self) -> Path:
        """The ONNX graph: Hounsfield units in, labels out."""
        return self.folder / GRAPH

    @property
    def program(self) -> Path | None:
        """The same graph as a `torch.export` program, if the folder has it."""
        return self.folder / PROGRAM if PROGRAM in self.manifest.files else None

    @property
    def reference(self) -> Path:
        """Test inputs and the float32 answers to them."""
        return self.folder / REFERENCE


def default_model_folder() -> Path:
    """Return the folder of the model that ships with Hepar."""
    return Path(__file__).parent / "models" / "base"


def load_model(folder: Path) -> Model:
    """Read a model folder and compare every file with the digest in its manifest.

    Raises:
        ModelNotFound: there is no manifest under `folder`.
        BrokenModel: the manifest is invalid, or a file does not match its digest.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelNotFound(
            f"no {MANIFEST} in {folder}; give a model folder, such as {default_model_folder()}, or "
            "the name of a model that `hepar model list` lists"
        ) from error
    # From the bytes that the digest below is made of: a second read might see another file.
    manifest = _read_manifest(text, path)
    for name, digest in manifest.files.items():
        _require_digest(folder / name, digest)
    return Model(folder, manifest, hashlib.sha256(text).hexdigest())


def _read_manifest(text: bytes, path: Path) -> Manifest:
    try:
        content = json.loads(text)
    except ValueError as error:  # includes UnicodeDecodeError
        raise BrokenModel(f"{path} is not JSON ({error}); copy the model folder again") from error
    # Before the schema, which would complain of keys that another contract has. A missing
    # contract is left to the schema.
    if isinstance(content, dict) and content.get("contract", CONTRACT) != CONTRACT:
        raise BrokenModel(
            f"{path} follows graph contract {content['contract']!r}, this Hepar supports "
            f"{CONTRACT}; use the version that wrote it, or export the model again"
        )
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BrokenModel(f"{path}: {_reasons(error)}; export the model again") from error


def _reasons(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(step) for step in fault['loc']) or 'manifest'}: {fault['msg']}"
        for fault in error.errors()
    )


def _require_digest(path: Path, expected: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BrokenModel(
            f"cannot read {path.name} in {path.parent} ({error.strerror}); copy the folder again"
        ) from error
    if found != expected:
        raise BrokenModel(
            f"{path.name} in {path.parent} does not match {MANIFEST}: SHA-256 {found[:12]}… != "
            f"{expected[:12]}…; copy the model folder again"
        )
