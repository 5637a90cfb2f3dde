"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from dicom_node.config.settings import CONFIG_FILE, Settings, load_settings
from dicom_node.errors import BadConfiguration

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="HEPAR_CONFIG",
        help=f"Configuration of the node, a TOML file; default: {CONFIG_FILE}, if that exists.",
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        help="Model folder, or the name of a model that ships with Hepar; default: base.",
    ),
]


def settings(config: Path | None, model: Path | None = None, **sections: Any) -> Settings:
    """Read the configuration; options take precedence."""
    if model is not None:
        sections["engine"] = {"model": model}
    return load_settings(config, **sections)


def require_folder(output: Path) -> None:
    """Create the folder for results before anything is computed.

    Raises:
        BadConfiguration: it cannot be created or written to.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(output, os.W_OK | os.X_OK) else "no permission"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    if reason:
        raise BadConfiguration(
            f"cannot write into {output}: {reason}; name a folder that this user may write to"
        )
