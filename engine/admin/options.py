"""Options shared by several commands."""

from pathlib import Path
from typing import Annotated

import platformdirs
import typer

ModelFolder = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        help="Model folder, or the name of a model that ships with Hepar; default: base.",
    ),
]
PlansFolder = Annotated[
    Path,
    typer.Option(
        "--plans",
        "-p",
        envvar="HEPAR_ENGINE__PLANS",
        help="Folder of the plans; `engine.plans` of the node's configuration.",
    ),
]
DEFAULT_PLANS = platformdirs.user_data_path("hepar") / "plans"
"""Folder of plans of a node without a configuration."""

PlanName = Annotated[
    str, typer.Argument(help="The plan's name, or enough of its beginning or its end.")
]
