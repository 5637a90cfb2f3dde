"""Comparison of a shadow model's labels with what people drew, whichever of them comes last."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from dicom_node.corrections.comparison import dice_of
from dicom_node.corrections.correction import ShadowDice
from dicom_node.corrections.kept_labels import LEARNT, read_drawing, read_kept_labels
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.data_folder import DataFolder
from dicom_node.error_location import unforeseen
from dicom_node.errors import NodeError, UnreadableDrawing


def compare_shadow(
    data: DataFolder,
    digest: str,
    job: str = "",
    at_work: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> int:
    """Compare a shadow model with each correction that it is not compared with yet.

    Intake and shadow both write their own file first and then call this, so that whoever comes
    last finds both, also after a crash in between.

    Args:
        data: of the node.
        digest: of the shadow model.
        job: only corrections of its results; empty: all.
        at_work: notes that one is compared, while the block lasts.

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
        file = data.shadow_labels(each.stack, digest)
        drawn = data.drawing(each.stack, each.uid)
        if not (file.exists() and drawn.exists()):
            continue
        with at_work():
            found = _compared(file, drawn, digest)
        if found is not None:
            register.add_shadow(each.uid, found)
            count += 1
    return count


def _compared(file: Path, drawn: Path, digest: str) -> ShadowDice | None:
    """Return the Dice of a shadow model's labels; None where a file is no longer there."""
    try:
        kept = read_kept_labels(file)
        if kept.learnt:
            return ShadowDice(kept.model, digest, reason=LEARNT)
        return ShadowDice(kept.model, digest, dice_of(read_drawing(drawn), kept.label_map))
    except FileNotFoundError:  # the job is removed in this moment
        return None
    except UnreadableDrawing as error:
        return ShadowDice("", digest, reason=str(error))
    except (OSError, NodeError):
        raise
    # The edge: whatever it was, the next time it would be the same.
    except Exception as error:
        return ShadowDice("", digest, reason=unforeseen(error))
