"""Options that several commands have."""

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
        help=f"TOML file of the node; without it {CONFIG_FILE}, if that exists.",
    ),
]
Model = Annotated[
    Path | None,
    typer.Option("--model", "-m", help="Model folder; without it the one that comes with Hepar."),
]


def settings(config: Path | None, model: Path | None = None, **sections: Any) -> Settings:
    """Read the configuration; options win over it."""
    if model is not None:
        sections["engine"] = {"model": model}
    return load_settings(config, **sections)


def require_folder(output: Path) -> None:
    """Make the folder that results go to, before any are computed.

    Raises:
        BadConfiguration: it cannot be made, or not be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(output, os.W_OK | os.X_OK) else "no right to"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    if reason:
        raise BadConfiguration(
            f"cannot write into {output}: {reason}; name a folder that this user may write"
        )
