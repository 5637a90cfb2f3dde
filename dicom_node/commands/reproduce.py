"""`hepar reproduce`: compute a result again and compare."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from dicom_node.commands.arguments.archive import say
from dicom_node.commands.arguments.options import Config, Model, settings
from dicom_node.commands.arguments.peer_argument import peer_named
from dicom_node.config.settings import Settings
from dicom_node.errors import BadConfiguration
from dicom_node.logs import quieten_libraries
from dicom_node.node.startup import to_fleet
from dicom_node.node.warm_up import to_segmenter
from dicom_node.pipeline.process import process
from dicom_node.results.objects import SEG, Encoding, ObjectKind, ResultObject, SegForm
from dicom_node.retrieve.folder import discover
from dicom_node.retrieve.query import StudyQuery
from dicom_node.retrieve.source import find, to_source
from dicom_node.sop_classes import LABEL_MAP_SEGMENTATION
from dicom_node.verify.difference import read_seg_header, seg_differences, source_uids
from engine.volume import Label


def reproduce(
    seg: Annotated[Path, typer.Argument(metavar="SEG.dcm", exists=True, help="A SEG of Hepar.")],
    peer: Annotated[
        str,
        typer.Option(
            "--from", metavar="PEER", help="Archive of the source series, as for `hepar segment`."
        ),
    ] = "",
    folder: Annotated[
        Path | None, typer.Option("--sources", help="Folder of the source series, in place of it.")
    ] = None,
    config: Config = None,
    model: Model = None,
) -> None:
    """Fetch the series that SEG.dcm names, segment it again and compare voxel by voxel.

    Prints "equal" or the differences of each segment; the exit status is 1 if there are any.
    """
    quieten_libraries()
    chosen, header = settings(config, model), _header(seg)
    # Neither, or both.
    if bool(peer) == bool(folder):
        raise BadConfiguration("name where the source series is: --from PEER or --sources FOLDER")
    with TemporaryDirectory(prefix="hepar-") as name:
        sources = _sources(header, folder or _fetch(header, peer, chosen, Path(name) / "sources"))
        made = _segment_again(header, sources, Path(name) / "seg.dcm", chosen)
        differences = seg_differences(seg, made)
    for each in differences:
        say(f"{each.label}: {each.differing} of {each.voxels} voxels differ")
    if any(each.differing for each in differences):
        raise typer.Exit(1)
    say("equal")


def _header(seg: Path) -> Dataset:
    try:
        header = read_seg_header(seg)
    except InvalidDicomError:
        header = Dataset()
    if header.get("Modality") != "SEG" or header.get("Manufacturer") != "Hepar":
        raise BadConfiguration(f"{seg} is not a SEG of Hepar; name one that a node made")
    return header


def _fetch(header: Dataset, peer: str, chosen: Settings, folder: Path) -> Path:
    """Fetch the source series and return the folder of its files."""
    source = to_source(peer_named(peer, chosen))
    uid = str(header.ReferencedSeriesSequence[0].SeriesInstanceUID)
    found = find(source, StudyQuery(study_uid=str(header.StudyInstanceUID)))
    series = next((each for each in found if each.series_uid == uid), None)
    if series is None:
        raise BadConfiguration(f"{source.name} does not have the source series {uid}")
    folder.mkdir()
    source.fetch(series, folder, lambda _: None)
    return folder


def _sources(header: Dataset, folder: Path) -> list[Path]:
    """Return the files of exactly the instances that the SEG was made of."""
    uid, wanted = str(header.ReferencedSeriesSequence[0].SeriesInstanceUID), source_uids(header)
    found = {_instance_uid(path): path for path in discover(folder).series.get(uid, ())}
    if missing := wanted - found.keys():
        raise BadConfiguration(
            f"{len(missing)} of {len(wanted)} source instances are not in {folder}; it must hold"
            f" all of series {uid}"
        )
    # Only those: the archive may have got more of the series since.
    return [found[each] for each in sorted(wanted)]


def _instance_uid(path: Path) -> str:
    return str(read_seg_header(path).SOPInstanceUID)


def _segment_again(header: Dataset, sources: list[Path], target: Path, chosen: Settings) -> Path:
    """Segment the sources and return the file of the SEG in the form of the old one."""
    method = to_segmenter(chosen, *to_fleet(chosen)).now()
    item = ResultObject(ObjectKind.SEG, _form(header))
    _say_what_changed(header, method.algorithm.digest, method.device.name)
    # The plain SEG is always made: the others are made from the same labels after it.
    method = replace(method, items=frozenset({SEG, item}))
    outcome = process(sources, target, method, series=str(header.SeriesInstanceUID))
    if outcome.seg is None:
        raise BadConfiguration(f"there is no SEG this time: {outcome.verdict}: {outcome.reason}")
    return item.file_beside(target)


def _form(header: Dataset) -> SegForm:
    labelmap = header.SOPClassUID == LABEL_MAP_SEGMENTATION
    organs = sum(label is not Label.BACKGROUND for label in Label)
    per_lesion = len(header.SegmentSequence) > organs
    return SegForm(Encoding.LABELMAP if labelmap else Encoding.BINARY, per_lesion)


def _say_what_changed(header: Dataset, digest: str, device: str) -> None:
    """Name model and device, and whether the model is the one that the SEG names."""
    known = str(header.get("DeviceSerialNumber") or "")
    same = "the same model" if known == digest else f"another model than {known[:12]}"
    say(f"segmenting again with {same} ({digest[:12]}) on {device}")
