"""`hepar model promote`: let the shadow model serve."""

from typing import Annotated

import typer

from dicom_node.audit.audit_event import model_changed
from dicom_node.audit.trail import auditing_command, record
from dicom_node.commands.arguments.options import Config, settings
from dicom_node.commands.models.both_models import (
    Models,
    both_models,
    named,
    open_candidate,
    sentences,
    values,
)
from dicom_node.corrections.side_by_side import FEWEST
from dicom_node.counted import counted
from dicom_node.data_folder import DataFolder
from dicom_node.errors import BadConfiguration
from dicom_node.shadow import promotion
from engine.json_output import Json, print_json


def promote(
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway", help="Also with too few corrections, or where the shadow agrees less."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Let the shadow model serve, from the next start of the node on.

    It is opened and checked first, and copied into the data folder. Results that were made stay as
    they are. `hepar model rollback` goes back.
    """
    chosen = settings(config)
    models = both_models(chosen)
    if models.serving.digest == models.shadow.digest:
        raise BadConfiguration(f"{named(models.shadow)} serves already; nothing is changed")
    if not anyway:
        require_reason(models)
    device = open_candidate(models.shadow, chosen)
    if not as_json:
        for line in (*sentences(models), f"it opens and passes its reference on {device}"):
            typer.echo(line)
    if not yes:
        typer.confirm(f"Let {named(models.shadow)} serve?", abort=True, err=True)
    with auditing_command(chosen.audit.destination, chosen.node.ae_title):
        promotion.promote(models.shadow, chosen.engine.model, DataFolder(chosen.node.data))
        record(model_changed)
    if as_json:
        print_json(values(models) | {"promoted": models.shadow.digest, "device": device})
    else:
        typer.echo(f"{named(models.shadow)} serves once the node is restarted")


def require_reason(models: Models) -> None:
    """Return if the corrections do not speak against the shadow.

    Raises:
        BadConfiguration: they are too few, or the shadow agrees less with them.
    """
    comparison = models.comparison
    if comparison is None or not comparison.enough:
        raise BadConfiguration(
            f"{counted(models.count, 'corrected result')} compared with both models, and at least"
            f" {FEWEST} are needed to tell; wait for more, or promote with --anyway"
        )
    if comparison.agrees_less:
        raise BadConfiguration(
            "the shadow agrees less with corrections than the model that serves"
            " (`hepar model shadow`); promote with --anyway if you want it all the same"
        )
