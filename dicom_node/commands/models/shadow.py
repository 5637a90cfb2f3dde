"""`hepar model shadow`: the shadow model beside the serving one, on the same corrections."""

from collections import Counter

import typer

from dicom_node.commands.arguments.options import Config, settings
from dicom_node.commands.models.both_models import both_models, sentences, values
from dicom_node.data_folder import DataFolder
from dicom_node.shadow.work_register import WorkRegister
from engine.json_output import Json, print_json


def shadow(config: Config = None, as_json: Json = False) -> None:
    """Compare the shadow model (engine.shadow) with the serving one, on the same corrections."""
    chosen = settings(config)
    models = both_models(chosen)
    register = WorkRegister(DataFolder(chosen.node.data).shadow)
    work = register.of_model(models.shadow.digest)
    states = Counter(str(each.state) for each in work)
    if as_json:
        print_json(values(models) | {"series": dict(states)})
        return
    for line in sentences(models):
        typer.echo(line)
    for state, count in states.items():
        typer.echo(f"series of the shadow, {state}: {count}")
