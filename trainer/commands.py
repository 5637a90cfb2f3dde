"""`hepar train`, `hepar evaluate` and `hepar explain`.

torch takes seconds to import, so only who trains or evaluates pays for it.
"""

import math
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from engine.admin.options import DEFAULT_PLANS, PlansFolder
from engine.model import default_model_folder
from engine.shipped import model_folder
from trainer.cli_errors import errors_said
from trainer.datasets.commands import app as dataset
from trainer.option_choices import DeviceName, ExportPrecision, TrainingDevice, TrainingPrecision
from trainer.recipe.recipe import load_recipe
from trainer.runs.commands import compare, list_recipes, plan
from trainer.runs.recipe_first import TRAIN, make_group

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="Recipe that ships with Hepar, such as base, or a TOML file."
    ),
]
AS_DOWNLOADED = "Folder of data sets as they were downloaded, or one zip of 3D-IRCADb-01."
DataFolder = Annotated[Path, typer.Option("--data", exists=True, help=AS_DOWNLOADED)]


def register(app: typer.Typer) -> None:
    """Add the trainer's commands to `hepar`, where what they need is installed."""
    # find_spec looks for the package without importing it.
    if find_spec("torch") is not None:
        app.add_typer(_train_group(), name="train", rich_help_panel="Models")
        app.command(rich_help_panel="Models")(evaluate)
        app.command(rich_help_panel="Models")(explain)
        group = _model_group(app)
        group.command("export")(export)
        group.command("calibrate")(calibrate)
        app.add_typer(dataset, name="dataset", rich_help_panel="Models")


def _train_group() -> typer.Typer:
    group = make_group()
    group.command(TRAIN, hidden=True)(train)
    group.command("list")(list_recipes)
    group.command("plan")(plan)
    group.command("compare")(compare)
    return group


def train(
    recipe: RecipeName,
    data: DataFolder,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder for checkpoints; an existing run is resumed. Default: runs/RECIPE."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Model folder to write; replaced when it is there. RUN/model."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="Model folder or name whose weights training starts from; random if none."
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Model folder or name whose probabilities a recipe with [distil] learns from."
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the recipe: share=0.25, working.size=512, …"),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=0, help="Processes that make batches; 0: the training device itself."),
    ] = 0,
    device: Annotated[TrainingDevice, typer.Option(help="What trains.")] = TrainingDevice.AUTO,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="Try the whole path in a minute: few slices, few steps."),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Plan the steps by this machine's pace: the model folder is there by then.",
        ),
    ] = None,
    folds: Annotated[
        int,
        typer.Option(min=0, help="Cross-validate in so many folds; their members are one model."),
    ] = 0,
    devices: Annotated[str, typer.Option(help="How many GPUs, or auto.")] = "auto",
    nodes: Annotated[int, typer.Option(min=1, help="How many machines; see docs/recipes.md.")] = 1,
    precision: Annotated[
        TrainingPrecision | None,
        typer.Option(help="What training computes in; bfloat16 where the device has it."),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile networks by torch.compile; on a GPU only.")
    ] = False,
) -> None:
    """Learn RECIPE's members from labelled data and write a model folder.

    Patients are split by the recipe; the held-out ones are only looked at in the end. Stopped and
    called again with the same --run, it resumes at the last epoch. See also `hepar train list`,
    `hepar train plan DATA` and `hepar train compare RUN RUN`.
    """
    began_s = time.monotonic()
    with errors_said():
        from trainer.runs.folds import train_folds
        from trainer.runs.smoke import PATIENTS, empty, smoke_recipe
        from trainer.train_command import Run, train_model
        from trainer.training.by_clock.budget import Budget
        from trainer.training.machine import Machine, require_accelerator

        wanted = load_recipe(recipe, change or ())
        _require_one_plan(minutes, folds, smoke=smoke)
        folder = run or Path("runs") / wanted.name
        if smoke:
            # Beside the run that it tries, whose checkpoints are of another recipe.
            folder = folder.with_name(f"{folder.name}-smoke")
            empty(folder)
            wanted = smoke_recipe(wanted)
        machine = Machine(
            accelerator=device.value,
            devices=int(devices) if devices.isdigit() else devices,
            nodes=nodes,
            workers=workers,
            precision=precision.value if precision else None,
            compiled=compiled,
        )
        require_accelerator(machine)
        begun, taught = (model_folder(each) if each else None for each in (start, teacher))
        most = PATIENTS if smoke else None
        budget = Budget(60 * minutes, began_s) if minutes else None
        output = model or folder / "model"
        todo = Run(data, folder, output, machine, begun, taught, most, budget)
        if folds:
            train_folds(wanted, todo, folds)
        else:
            train_model(wanted, todo)
    if smoke:
        typer.echo(f"the whole path works on {data}; the figures of so few steps mean nothing")


def _require_one_plan(minutes: float | None, folds: int, *, smoke: bool) -> None:
    """Refuse numbers, and options beside each other, by which no training can go.

    Raises:
        BadParameter: the message names the option.
    """
    if folds == 1:
        raise typer.BadParameter("one fold holds nobody out: take --folds 2 or more")
    if minutes is not None and not math.isfinite(minutes):
        raise typer.BadParameter(f"--minutes {minutes} is no length of time: give minutes")
    if minutes and (folds or smoke):
        raise typer.BadParameter("--minutes plans one training: leave --folds and --smoke out")


def export(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", exists=True, help="Folder of a run, or a model folder."),
    ],
    output: Annotated[Path, typer.Option(help="Model folder to write; replaced when there.")],
    precision: Annotated[
        ExportPrecision, typer.Option(help="What the members compute in.")
    ] = ExportPrecision.FLOAT32,
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True, help="Labelled data that calibrates and judges; phantoms if left out."
        ),
    ] = None,
) -> None:
    """Write a trained model once more: with its torch program, in half precision, or in int8.

    A variant that strays too far from float32 is refused; its loss of Dice stands in its card.
    """
    with errors_said():
        from trainer.export.variants import export_variant

        export_variant(run, output, precision.value, data)


def calibrate(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Model folder, or the name of a shipped model.")
    ],
    data: Annotated[
        Path,
        typer.Option("--data", exists=True, help="Labelled data; its held-out patients are used."),
    ],
    check: Annotated[
        Path | None,
        typer.Option(exists=True, help="Labelled data of another source, which only judges."),
    ] = None,
) -> None:
    """State in MODEL how certain its results are, by patients that it did not learn from.

    Writes model.json anew: probabilities of lesions and intervals of volumes, as far as the
    patients support them, and otherwise the reason. The weights stay as they are.
    """
    with errors_said():
        from trainer.calibration.calibrate_command import calibrate_command

        calibrate_command(model_folder(model), data, check)


def _model_group(app: typer.Typer) -> typer.Typer:
    """Return the group `hepar model`, which the engine may have made."""
    # A second group of the same name would hide the engine's commands.
    for group in app.registered_groups:
        if group.name == "model" and group.typer_instance is not None:
            return group.typer_instance
    made = typer.Typer(help="Models.", no_args_is_help=True)
    app.add_typer(made, name="model")
    return made


Healthy = Annotated[
    bool, typer.Option("--healthy", help="No volume has a tumour: every mark is false.")
]


def evaluate(
    data: Annotated[Path | None, typer.Option("--data", exists=True, help=AS_DOWNLOADED)] = None,
    series: Annotated[
        Path | None, typer.Option(help="Folder of one DICOM series instead; with --truth.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(help="Its liver (1) and tumours (2) as NIfTI, or a DICOM SEG of them."),
    ] = None,
    healthy: Healthy = False,
    model: Annotated[
        list[Path] | None,
        typer.Option(help="Model folder or name; several are compared. base if none."),
    ] = None,
    segs: Annotated[
        Path | None, typer.Option(help="Judge the DICOM SEG objects in this folder instead.")
    ] = None,
    device: Annotated[DeviceName, typer.Option(help="What runs the model.")] = DeviceName.OPENVINO,
    plans: PlansFolder = DEFAULT_PLANS,
    fusions: Annotated[
        bool, typer.Option("--fusions", help="Each member alone and every fusion, in torch.")
    ] = False,
    trained: Annotated[
        bool, typer.Option("--trained", help="The patients it was trained on instead.")
    ] = False,
    everyone: Annotated[
        bool, typer.Option("--all", help="All patients: for data that no model was trained on.")
    ] = False,
    tolerance_mm: Annotated[float, typer.Option(min=0.1, help="Of the surface Dice.")] = 2.0,
    report: Annotated[Path | None, typer.Option(help="Write a page with pictures here.")] = None,
    record: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Compare models, or SEG objects, with what experts drew in patients that none has seen.

    Whole volumes are marked as the node marks them, cleaning included; slices without neighbours
    one by one. Every figure comes with the number of patients it rests on.
    """
    with errors_said():
        from trainer.evaluation.evaluate_command import Data, Marking, Output, evaluate_command
        from trainer.evaluation.run.patients import chosen_group

        if not model and segs is None:
            model = [default_model_folder()]
        models = tuple(model_folder(each) for each in model or ())
        evaluate_command(
            Data(data, series, truth, healthy, chosen_group(trained, everyone)),
            Marking(models, segs, device, plans, fusions),
            Output(report, record),
            tolerance_mm,
        )


def explain(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="For the page.")],
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL]", help="Model folder or name; base if left out."),
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", exists=True, help=AS_DOWNLOADED)] = None,
    patient: Annotated[
        list[str] | None, typer.Option(help="Of the data; two that it has not seen if none.")
    ] = None,
    series: Annotated[Path | None, typer.Option(help="Folder of one DICOM series instead.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="What was drawn on it, as NIfTI or DICOM SEG, if anything.")
    ] = None,
    slices: Annotated[
        list[int] | None,
        typer.Option("--slice", help="From 0, from the feet; the most telling ones if none."),
    ] = None,
) -> None:
    """Look into a model: heat maps, Grad-CAM, activations, and where its members agree.

    Writes a self-contained page that explains each map.
    """
    with errors_said():
        from trainer.explain.explain_command import Wanted, explain_command

        wanted = Wanted(data, tuple(patient or ()), series, truth, tuple(slices or ()))
        explain_command(model_folder(model), wanted, output)
