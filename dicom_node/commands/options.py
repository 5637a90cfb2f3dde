"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dicom_node.config import CONFIG_FILE, Settings, load_settings

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
