"""Sources and licences of the data that a model was trained on."""

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
    "LIDC-IDRI": Data(
        name="LIDC-IDRI, chests without liver",
        licence="CC BY 3.0",
        attribution="Armato et al. 2015, doi:10.7937/K9/TCIA.2015.LO9QL9SX",
    ),
    "dcm_qa_ct": Data(
        name="dcm_qa_ct, a head",
        licence="BSD-2-Clause",
        attribution="Chris Rorden, github.com/neurolabusc/dcm_qa_ct",
    ),
    "3D-IRCADb-01": Data(
        name="3D-IRCADb-01",
        licence="non-commercial; see where it was downloaded",
        attribution="IRCAD, Strasbourg; Soler et al. 2010",
    ),
}
"""Name of a layout to the data set that has it."""

PACKED = {
    "msd_liver_slices.npz": ("MSD Task03", "LiTS"),
    "lits_tumour_slices.npz": ("MSD Task03", "LiTS"),
    "lits2to5_slices.npz": ("LiTS",),
    "lits117_crop.npz": ("LiTS",),
    "negatives_chest_head.npz": ("LIDC-IDRI", "dcm_qa_ct"),
}
"""File of slices to whose they are."""

ALIKE = {"CC BY-SA 4.0", "CC BY 3.0", "BSD-2-Clause"}
"""Licences whose data may go into a work under CC BY-SA 4.0."""

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
    # Files of packed slices have no case that `find_cases` would find.
    names |= {each for file in READERS if (folder / file).is_file() for each in PACKED[file]}
    return tuple(KNOWN.get(name) or _unknown(name) for name in sorted(names, reverse=True))


def licence_of(data: tuple[Data, ...]) -> str:
    """Return the text of the weights' licence file."""
    listed = "\n".join(f"- {each.name}. {each.attribution}. {each.licence}." for each in data)
    # At least one asks for share-alike, and none forbids it.
    alike = {"CC BY-SA 4.0"} <= {each.licence for each in data} <= ALIKE
    return (SHARE_ALIKE if alike else OTHERS).format(data=listed)


def _unknown(layout: str) -> Data:
    return Data(name=f"{layout}, data of one's own", licence="not stated", attribution="not stated")
