"""Comparison of a shadow model's labels with what people drew, whichever of them comes last."""

from dicom_node.corrections.comparison import dice_of
from dicom_node.corrections.correction import Correction, ShadowDice
from dicom_node.corrections.kept_labels import LEARNT, read_drawing, read_kept_labels
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.data_folder import DataFolder
from dicom_node.errors import UnreadableDrawing


def compare_shadow(data: DataFolder, digest: str, job: str = "") -> int:
    """Compare a shadow model with each correction that it is not compared with yet.

    Intake and shadow both write their own file first and then call this, so that whoever comes
    last finds both, also after a crash in between.

    Args:
        data: of the node.
        digest: of the shadow model.
        job: only corrections of its results; empty: all.

    Returns:
        How many corrections were compared.

    Raises:
        OSError, StoreUnusable: the register cannot be read or written.
    """
    register = CorrectionRegister(data.corrections)
    count = 0
    for each in register.of(job) if job else register.all():
        if each.reason or digest in {shadow.digest for shadow in each.shadows}:
            continue
        if found := _compared(data, digest, each):
            register.add_shadow(each.uid, found)
            count += 1
    return count


def _compared(data: DataFolder, digest: str, correction: Correction) -> ShadowDice | None:
    """Return the Dice of a shadow model; None where its labels, or the drawing, are not there."""
    file = data.shadow_labels(correction.stack, digest)
    drawn = data.drawing(correction.stack, correction.uid)
    if not (file.exists() and drawn.exists()):
        return None
    try:
        kept = read_kept_labels(file)
        if kept.learnt:
            return ShadowDice(kept.model, digest, reason=LEARNT)
        return ShadowDice(kept.model, digest, dice_of(read_drawing(drawn), kept.label_map))
    except FileNotFoundError:  # the job is removed in this moment
        return None
    except UnreadableDrawing as error:
        return ShadowDice("", digest, reason=str(error))
