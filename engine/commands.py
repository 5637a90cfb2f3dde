"""Registration of `hepar model` and `hepar engine`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from engine.admin import plan_commands
from engine.admin.bench import bench
from engine.admin.command_groups import MODEL, command_group
from engine.admin.doctor import doctor
from engine.admin.rebuild import rebuild
from engine.json_output import Json, print_json
from engine.model import Model, load_model
from engine.shipped import model_folder, shipped_models
from engine.volume import Label


def register(app: typer.Typer) -> None:
    """Add `hepar model …` and `hepar engine …`."""
    model = command_group(app, "model", MODEL)
    model.command("show")(show)
    model.command("list")(list_models)
    engine = typer.Typer(
        help="Build, verify and activate TensorRT plans; check devices.", no_args_is_help=True
    )
    engine.command("build")(plan_commands.build)
    engine.command("rebuild")(rebuild)
    engine.command("list")(plan_commands.list_plans)
    engine.command("verify")(plan_commands.verify)
    engine.command("activate")(plan_commands.activate)
    engine.command("rollback")(plan_commands.rollback)
    engine.command("prune")(plan_commands.prune)
    engine.command("doctor")(doctor)
    engine.command("bench")(bench)
    app.add_typer(engine, name="engine")


def show(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Model folder, or the name of a model that ships with Hepar; default: base."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a model's members, classes, training data and evaluation, and verify its files."""
    model = load_model(model_folder(folder))
    if as_json:
        content = {"folder": str(model.folder), "digest": model.digest}
        print_json(content | model.manifest.model_dump(mode="json"))
    else:
        Console().print(describe(model))


def list_models(as_json: Json = False) -> None:
    """List the models that ship with Hepar, with their figures on patients they never learnt from.

    `engine.model` of the configuration, or --model of a command, chooses one by its name.
    """
    models = {name: load_model(folder) for name, folder in shipped_models().items()}
    if as_json:
        print_json(
            {
                name: {"version": each.version, "digest": each.digest, "folder": str(each.folder)}
                for name, each in models.items()
            }
        )
        return
    columns = ("Name", "Version", "Members", "Liver Dice", "Tumour Dice", "Description")
    table = _table("Models that ship with Hepar", *columns)
    for name, model in models.items():
        recipe, evaluation = model.manifest.recipe, model.manifest.evaluation
        dice = evaluation["pooled_dice"][evaluation["fusion"]]
        table.add_row(
            *(Text(each) for each in (name, model.version, ", ".join(model.members))),
            *(f"{dice[structure]:.4f}" for structure in ("liver", "tumour")),
            Text(recipe["description"]),
        )
    Console().print(table)


def describe(model: Model) -> Panel:
    """Return a model as a panel to print."""
    return Panel(
        Group(
            _facts(model),
            "",
            _classes(model),
            "",
            _data(model),
            "",
            _evaluation(model),
            "",
            _domain(model),
            "",
            _calibration(model),
            "",
            _files(model),
        ),
        title=Text(f"{model.name} {model.version}", "bold"),
        subtitle=Text(str(model.folder), "dim"),
        padding=(1, 2),
    )


def _facts(model: Model) -> Table:
    manifest = model.manifest
    rows, columns = manifest.working.size
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("Members", Text(", ".join(model.members)))
    table.add_row("Working grid", f"{rows} x {columns} pixels of {model.working_spacing_mm:g} mm")
    table.add_row(
        "Graph",
        f"contract {model.contract}, ONNX opset {manifest.graph.opset}, {manifest.graph.precision}",
    )
    table.add_row("Digest", model.digest)
    return table


def _classes(model: Model) -> Table:
    table = _table("Classes", "Label", "Name", "Category", "Type", "Colour")
    for kind in model.classes:
        table.add_row(
            str(int(kind.label)),
            Text(kind.name),
            *(
                Text(f"{code.meaning} ({code.value}, {code.scheme})")
                for code in (kind.category, kind.type)
            ),
            Text("████", "rgb({},{},{})".format(*kind.colour_rgb)),
        )
    return table


def _data(model: Model) -> Table:
    table = _table("Training data", "Data", "Licence", "Attribution")
    for data in model.manifest.data:
        table.add_row(Text(data.name), Text(data.licence), Text(data.attribution))
    return table


def _evaluation(model: Model) -> Table:
    table = _table("Evaluation", "Metric", "Result")
    for name, value in _flat(model.manifest.evaluation):
        table.add_row(Text(name), Text(value))
    return table


def _domain(model: Model) -> Table | Text:
    domain = model.manifest.domain
    if domain is None:
        reason = model.manifest.left_out.get("domain", "the model is older than this check")
        return Text(f"Scans are not compared with those that it learnt from: {reason}")
    title = f"Scans that it learnt from ({domain.patients} patients); others are to be reviewed"
    table = _table(title, "Feature", "From", "To")
    for feature, learnt in domain.ranges.items():
        table.add_row(feature.replace("_", " "), f"{learnt.low:g}", f"{learnt.high:g}")
    return table


def _calibration(model: Model) -> Table | Text:
    calibration = model.manifest.calibration
    if calibration is None:
        return Text("Results state no probabilities and no intervals")
    lesions, volumes = calibration.lesions, (calibration.liver_volume, calibration.tumour_volume)
    table = _table("How certain results are", "Statement", "By", "Patients")
    if lesions:
        marks = f"{lesions.true_marks} true and {lesions.false_marks} false marks"
        features = ", ".join(each.replace("_", " ") for each in lesions.fit.coefficients)
        table.add_row("Probability of each lesion", f"{features}; {marks}", f"{lesions.patients}")
    for name, each in zip(("liver", "tumour"), volumes, strict=True):
        if each:
            width, coverage = 100 * each.relative_error, 100 * each.coverage
            stated = f"± {width:.1f} % with {coverage:g} % coverage"
            table.add_row(f"Interval of the {name} volume", stated, f"{each.patients}")
    for label in (Label.LIVER, Label.TUMOUR):
        if bound := calibration.least_agreement(label):
            stated = f"below {bound.least:.3f}, as of {100 * bound.part:g} %"
            table.add_row(
                f"Review by agreement on the {label.name.lower()}", stated, f"{bound.patients}"
            )
    for name, reason in model.manifest.left_out.items():
        if name.startswith("calibration."):
            table.add_row(f"None: {name.partition('.')[2].replace('_', ' ')}", reason, "")
    return table


def _files(model: Model) -> Table:
    table = _table("Files", "File", "Bytes", "SHA-256", "")
    for name, digest in model.manifest.files.items():
        size = (model.folder / name).stat().st_size
        table.add_row(Text(name), f"{size:,}", f"{digest[:12]}…", Text("verified", "green"))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", expand=True)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Return nested figures as (path, text), in the manifest's order."""
    lines: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{above} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            lines += _flat(value, name)
        elif isinstance(value, float):
            lines.append((name, f"{value:.4g}"))
        elif isinstance(value, list):
            lines.append((name, ", ".join(map(str, value))))
        else:
            lines.append((name, str(value)))
    return lines
