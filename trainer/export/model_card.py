"""The model card: what a model is, what it learnt from, how well it does, what it is not for."""

from textwrap import fill, indent

from engine.manifest import Data
from trainer.evaluation.metrics.overlap import Figures
from trainer.export.figures import COLUMNS, Compared, to_row
from trainer.patient_counts import patients
from trainer.recipe.recipe import LiverBox, Recipe
from trainer.recipe.sections import Loss, Origin
from trainer.training.ensemble import Cases

WIDTH = 100

TARGETS = {
    "classes": "one network for three classes",
    "each": "a network for the liver and one for the tumours",
    "cascade": "a network for the liver, and one for the tumours that sees nothing else",
}
RATES = {
    "one-cycle": "learning rate up and down, up to {rate:g}",
    "plateau": "learning rate {rate:g}, lower where nothing was gained",
    "constant": "learning rate {rate:g}",
}


def to_card(
    recipe: Recipe, held_out: Compared, validation: Compared, cases: Cases, data: tuple[Data, ...]
) -> str:
    """Write the model card.

    Args:
        recipe: as it was carried out.
        held_out: members and fusions on patients whom nothing was learnt from or chosen by.
        validation: the same on the patients by whom the fusion was chosen; empty if it was not.
        cases: who was learnt from.
        data: where they come from.
    """
    # The figures of the fusion that the folder has, and not of the best one.
    chosen = held_out[recipe.fusion.kind]
    # Values are put in once: braces in a description are not read as fields.
    return CARD.format(
        name=f"{recipe.name} {recipe.version}",
        description=recipe.description,
        what=_points(*_what(recipe)),
        data=_points(*_learnt(recipe, cases, data)),
        origin=_origin(recipe.origin) if recipe.origin else "",
        held_out=_measured(cases, chosen),
        fusions=_compared(held_out, recipe.fusion.kind),
        choice=_choice(recipe, validation, cases),
        patients="\n".join(_patient(name, chosen) for name in sorted(chosen.liver)),
        licences=_points(*(f"{each.name}: {each.licence}" for each in data)),
    )


def _what(recipe: Recipe) -> list[str]:
    working = recipe.working
    low, high = working.clip_hu
    shown = [f"window {a:g} to {b:g}" for a, b in working.windows]
    shown += [f"flattened histogram {a:g} to {b:g}" for a, b in working.equalised]
    if working.neighbours:
        shown.append(f"of {working.slices} slices, their own in the middle")
    members = ", ".join(f"{m.name} (seed {m.seed}{_box(m.box)})" for m in recipe.members)
    return [
        f"Members: {members}; of each, {TARGETS[recipe.targets]}. Fusion: {recipe.fusion.kind}.",
        f"They see {working.size}x{working.size} pixels of {working.spacing_mm:g} mm, HU clipped "
        f"to {low:g} to {high:g}, as {', '.join(shown)}. One graph does all of it, from "
        "Hounsfield units to labels on the slice's own pixels.",
        "Labels: 0 background, 1 liver, 2 tumour in the liver.",
    ]


def _box(box: LiverBox | None) -> str:
    return (
        f", {box.size}x{box.size} pixels of {box.spacing_mm:g} mm around the liver" if box else ""
    )


def _learnt(recipe: Recipe, cases: Cases, data: tuple[Data, ...]) -> list[str]:
    phantoms = f" and of {recipe.phantoms} computer-drawn phantoms" if recipe.phantoms else ""
    rate = RATES[recipe.schedule.rate].format(rate=recipe.learning_rate)
    most = ", ".join(" + ".join(map(str, m.cycles)) or "no" for m in recipe.members)
    return [
        *(f"{each.name} ({each.attribution})" for each in data),
        f"{len(cases.train)} slices of {patients(len(cases.split.train))}{phantoms}. Where only "
        '"liver including tumours" was drawn, nothing teaches that a tumour is liver.',
        f"Recipe `{recipe.name}`, seed {recipe.seed} for the split; {recipe.schedule.optimiser}, "
        f"{rate}, loss {' + '.join(map(_term, recipe.loss))}, batches of {recipe.batch.size} "
        f"slices, at most {most} steps. {recipe.remarks}".strip(),
    ]


def _term(loss: Loss) -> str:
    weight = "" if loss.weight == 1 else f"{loss.weight:g} x "
    return f"{weight}{loss.kind}"


def _origin(origin: Origin) -> str:
    head = fill(
        f"It follows {origin.system} (published Dice: {origin.dice}; split: {origin.split}), and "
        "departs from it:",
        WIDTH,
    )
    return f"\n{head}\n\n{_points(*origin.departures)}\n"


def _measured(cases: Cases, chosen: Figures) -> str:
    return fill(
        f"{len(cases.held_out)} slices of {patients(len(cases.split.held_out))} it has never "
        "seen, slice by slice, without the cleaning in 3-D that the engine adds. Dice pooled over "
        "all pixels, and the mean of the patients; the liver counts its tumours, as LiTS does. The "
        f"tumour figures rest on {patients(chosen.tumour_patients)} with drawn tumours.",
        WIDTH,
    )


def _compared(figures: Compared, chosen: str) -> str:
    rows = [("", *COLUMNS), ("---",) * (len(COLUMNS) + 1)]
    for name, each in figures.items():
        rows.append((f"**{name}**" if name == chosen else name, *to_row(each)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _choice(recipe: Recipe, validation: Compared, cases: Cases) -> str:
    if not validation:
        return ""
    others = patients(len(set(cases.validation.patient)), "other ")
    text = fill(
        f"The fusion was chosen by the mean of {others}, whom nobody learnt from but the weights "
        "of the weighted mean:",
        WIDTH,
    )
    return f"\n{text}\n\n{_compared(validation, recipe.fusion.kind)}\n"


def _patient(name: str, figures: Figures) -> str:
    tumour = figures.tumour.get(name)
    if tumour is None:
        text = "not drawn"
    elif tumour.true:
        text = f"{tumour.dice:.3f} ({tumour.true} pixels)"
    else:
        text = f"none; {tumour.predicted} pixels marked falsely"
    return f"| {name} | {figures.liver[name].dice:.3f} | {text} |"


def _points(*said: str) -> str:
    # Joined before they are filled, as texts of recipes have line breaks of their own.
    return "\n".join(
        "- " + indent(fill(" ".join(each.split()), WIDTH - 2), "  ").strip() for each in said
    )


CARD = """# Model card: {name}

{description}. It marks the liver and tumours in it on axial slices of contrast-enhanced CT.

## What it is

{what}
{origin}
## What it learnt from

{data}

## How well it does

{held_out}

{fusions}
{choice}
| patient | liver | tumour |
|---|---|---|
{patients}

## What it is not for

- No medical device: not for diagnosis or treatment. A radiologist must look at every result.
- Good figures on patients of the same source do not prove that it travels: to other scanners, to
  non-contrast or arterial series, to children, after large resections, to MR.
- Tumours as dense as the liver are missed; lesions a few pixels wide often are. Cysts,
  perfusion defects and dilated bile ducts may be marked as tumour.
- The kind of tumour is not told.

## Licence

See LICENSE beside this file; the data's own:

{licences}
"""
