"""Models that ship with Hepar, chosen by name."""

from pathlib import Path

from engine.model import MANIFEST, default_model_folder


def shipped_models() -> dict[str, Path]:
    """Return the folders of the models that ship with Hepar by name, the default model first."""
    default = default_model_folder()
    folders = sorted(path.parent for path in default.parent.glob(f"*/{MANIFEST}"))
    return {each.name: each for each in sorted(folders, key=lambda each: each != default)}


def model_folder(named: Path | None) -> Path:
    """Return the folder of a model: the default one, one that ships by its name, or the path.

    The name of a shipped model always stands for that model, so that a node does not depend on the
    folder it was started in; any other folder of that name needs a longer path.
    """
    if named is None:
        return default_model_folder()
    return shipped_models().get(str(named), named)
