"""`hepar model rollback`: let the model serve that did before."""

import typer

from dicom_node.audit.audit_event import model_changed
from dicom_node.audit.trail import auditing_command, record
from dicom_node.commands.arguments.options import Config, settings
from dicom_node.commands.models.both_models import named
from dicom_node.data_folder import DataFolder
from dicom_node.shadow.promotion import roll_back, served_folder
from engine.json_output import Json, print_json
from engine.model import load_model


def rollback(config: Config = None, as_json: Json = False) -> None:
    """Let the model serve that did before the last promotion; run twice to undo."""
    chosen = settings(config)
    data = DataFolder(chosen.node.data)
    with auditing_command(chosen.audit.destination, chosen.node.ae_title):
        roll_back(chosen.engine.model, data)
        record(model_changed)
    model = load_model(served_folder(chosen.engine.model, data))
    if as_json:
        print_json({"name": model.name, "version": model.version, "digest": model.digest})
    else:
        typer.echo(f"{named(model)} serves once the node is restarted")
