"""Classes of the models, with SNOMED codes (PS3.16, CID 7150 and 7151)."""

from engine.manifest import Code, ModelClass
from engine.volume import Label

CLASSES = (
    ModelClass(
        label=Label.LIVER,
        name="Liver",
        category=Code(value="123037004", scheme="SCT", meaning="Anatomical Structure"),
        type=Code(value="10200004", scheme="SCT", meaning="Liver"),
        colour_rgb=(221, 130, 101),
    ),
    ModelClass(
        label=Label.TUMOUR,
        name="Tumour",
        category=Code(value="49755003", scheme="SCT", meaning="Morphologically Abnormal Structure"),
        type=Code(value="108369006", scheme="SCT", meaning="Neoplasm"),
        colour_rgb=(255, 214, 10),
    ),
)
