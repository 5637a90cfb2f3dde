"""Whose data a model has learnt from, and under which licence."""

from pathlib import Path

from engine.manifest import Data
from trainer.datasets.layouts.npz import READERS
from trainer.datasets.layouts.read_all import find_cases

DECATHLON = Data(
    name="Medical Segmentation Decathlon, Task03 Liver",
    licence="CC BY-SA 4.0",
    attribution="Antonelli et al. 2022, doi:10.1038/s41467-022-30695-9",
)
LITS = Data(
    name="LiTS, Liver Tumor Segmentation Benchmark",
    licence="CC BY-SA 4.0",
    attribution="Bilic et al. 2023, doi:10.1016/j.media.2022.102680",
)
KNOWN = {
    "MSD Task03": DECATHLON,
    "LiTS": LITS,
    "CHAOS": Data(
        name="CHAOS, Combined Healthy Abdominal Organ Segmentation",
        licence="CC BY-NC-SA 4.0",
        attribution="Kavur et al. 2021, doi:10.1016/j.media.2020.101950",
    ),
    "3D-IRCADb-01": Data(
        name="3D-IRCADb-01",
        licence="non-commercial; see where it was downloaded",
        attribution="IRCAD, Strasbourg; Soler et al. 2010",
    ),
}
"""Name of a layout to the data set that has it."""

SHARE_ALIKE = """The weights in this folder are licensed under the Creative Commons
Attribution-ShareAlike 4.0 International licence (CC BY-SA 4.0),
https://creativecommons.org/licenses/by-sa/4.0/.

They were learnt from, and are to be attributed to:

{data}

Changes: slices were scaled and windowed; networks were trained on them.
"""

OTHERS = """The weights in this folder were learnt from:

{data}

Whoever passes them on, or uses them, has to see what these licences allow.
"""


def sources_of(folder: Path) -> tuple[Data, ...]:
    """Return the data sets in a folder; of one that is not known, what its layout is called."""
    names = {found.source for found in find_cases(folder)}
    if any((folder / name).is_file() for name in READERS):  # slices of these two
        names |= {"MSD Task03", "LiTS"}
    return tuple(KNOWN.get(name) or _unknown(name) for name in sorted(names, reverse=True))


def licence_of(data: tuple[Data, ...]) -> str:
    """Return what the weights' licence file says."""
    said = "\n".join(f"- {each.name}. {each.attribution}. {each.licence}." for each in data)
    alike = all(each.licence == "CC BY-SA 4.0" for each in data)
    return (SHARE_ALIKE if alike else OTHERS).format(data=said)


def _unknown(layout: str) -> Data:
    return Data(name=f"{layout}, data of one's own", licence="not stated", attribution="not stated")
