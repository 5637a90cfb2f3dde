"""`hepar dataset pull`: fetch CT series whose liver a person has outlined or corrected."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.annotations import Annotation, Author, describe_metadata
from trainer.datasets.pull.archive import INSTANCE, Archive, Series, value


@dataclass(frozen=True)
class Choice:
    """Choice of annotations."""

    content_label: str | None = None
    """Take those with this Content Label (0070,0080) too, whoever drew them."""
    corrections_only: bool = False
    """Take only those of series on which Hepar has drawn before."""

    def wants(self, drawing: Annotation, by_hepar: set[str]) -> bool:
        """Return whether a drawing is to be learnt from.

        Args:
            drawing: its description.
            by_hepar: the series on which the archive has a SEG by Hepar.
        """
        if not drawing.marks or not drawing.series_uid:
            return False
        person = bool(drawing.drawn)
        labelled = self.content_label is not None and drawing.content_label == self.content_label
        corrects = drawing.after_hepar or drawing.series_uid in by_hepar
        return (person or labelled) and (corrects or not self.corrections_only)


@dataclass(frozen=True)
class Wanted:
    """A CT series, and the SEGs on it that are to be learnt from."""

    images: Series
    drawings: Sequence[tuple[Series, str]]
    """Series and SOP Instance UID of each."""
    corrects_hepar: bool


@dataclass(frozen=True)
class Pulled:
    """Result of pulling one series."""

    wanted: Wanted
    images: int
    """Slices in the folder now."""
    fetched: int
    """Objects that were not there before."""
    problem: str = ""
    """Why it is of no use; empty where it is."""


def find_wanted(
    archive: Archive, filters: dict[str, str], choice: Choice, step: Callable[[int, int], None]
) -> list[Wanted]:
    """Look at the header of every SEG that matches, and return the series to pull.

    Args:
        archive: where to look.
        filters: attributes of the study or series to match, as QIDO-RS has them.
        choice: annotations to take.
        step: called with the series of SEGs read, and their total.

    Raises:
        ArchiveFailed: the archive does not answer.
    """
    series = archive.segmentations(filters)
    drawings: list[tuple[Series, str, Annotation]] = []
    for done, each in enumerate(series, start=1):
        for metadata in archive.metadata(each):
            drawings.append((each, value(metadata, INSTANCE), describe_metadata(metadata)))
        step(done, len(series))
    by_hepar = {drawing.series_uid for *_, drawing in drawings if drawing.author is Author.HEPAR}
    chosen = [each for each in drawings if choice.wants(each[2], by_hepar)]
    return list(_by_images(chosen, by_hepar))


def _by_images(
    drawings: Sequence[tuple[Series, str, Annotation]], by_hepar: set[str]
) -> Iterator[Wanted]:
    for uid in dict.fromkeys(drawing.series_uid for *_, drawing in drawings):
        ours = [each for each in drawings if each[2].series_uid == uid]
        # Taken to lie in the study of the SEG; a series of another study counts as not in the
        # archive.
        images = Series(ours[0][0].study_uid, uid)
        corrects = uid in by_hepar or any(drawing.after_hepar for *_, drawing in ours)
        yield Wanted(images, [(series, instance) for series, instance, _ in ours], corrects)


def pull_one(
    archive: Archive, wanted: Wanted, folder: Path, step: Callable[[int, int], None]
) -> Pulled:
    """Fetch what is not there yet of a CT series and of its drawings.

    Files present are complete, so an interrupted pull resumes where it stopped.

    Args:
        archive: where from.
        wanted: what.
        folder: where to; each series gets a folder in the study's.
        step: called with the objects present, and their total.

    Raises:
        ArchiveFailed: the archive does not answer.
    """
    modality = archive.modality(wanted.images)
    if modality != "CT":
        what = f"a series of {modality}" if modality else "not in the archive"
        return Pulled(wanted, 0, 0, f"what was drawn on is {what}")
    images = [(wanted.images, uid) for uid in archive.instances(wanted.images)]
    fetched, everything = 0, [*images, *wanted.drawings]
    # Images first: a SEG without its series is what a later check complains of.
    for done, (series, uid) in enumerate(everything, start=1):
        path = series.file(folder, uid)
        if not path.is_file():
            archive.fetch(series, uid, path)
            fetched += 1
        step(done, len(everything))
    return Pulled(wanted, len(images), fetched)
