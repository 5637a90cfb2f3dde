"""`hepar reproduce`: compute a result again and compare."""

import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from dicom_node.commands.arguments.options import Config, Model, settings
from dicom_node.commands.arguments.peer_argument import peer_named
from dicom_node.commands.arguments.text_lines import say_unless
from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.errors import BadConfiguration
from dicom_node.logs import quieten_libraries
from dicom_node.node.startup import to_fleet
from dicom_node.node.warm_up import to_segmenter
from dicom_node.pipeline.process import process
from dicom_node.results.attributes.result_uids import NOT_CONTENT
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.objects import SEG, Encoding, ObjectKind, ResultObject, SegForm
from dicom_node.retrieve.folder import discover
from dicom_node.retrieve.query import StudyQuery
from dicom_node.retrieve.source import find, to_source
from dicom_node.shadow.promotion import served_folder
from dicom_node.sop_classes import LABEL_MAP_SEGMENTATION
from dicom_node.verify.difference import (
    attribute_differences,
    read_seg_header,
    seg_differences,
    source_uids,
)
from engine.json_output import Json, print_json
from engine.model import MANIFEST
from engine.shipped import model_folder, shipped_models


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
    as_json: Json = False,
) -> None:
    """Fetch the series that SEG.dcm names, segment it again and compare voxel by voxel.

    The model is the one that SEG.dcm names where that is configured or ships with Hepar, unless
    --model names another. Prints "equal", or the differences of each segment and the attributes
    that differ, such as those of a corrected patient; the exit status is 1 if a voxel differs.
    """
    quieten_libraries()
    header = _header(seg)
    chosen = settings(config, model or _model_of(header, settings(config)))
    # Neither, or both.
    if bool(peer) == bool(folder):
        raise BadConfiguration("name where the source series is: --from PEER or --sources FOLDER")
    with TemporaryDirectory(prefix="hepar-") as name:
        sources = _sources(header, folder or _fetch(header, peer, chosen, Path(name) / "sources"))
        made = _segment_again(header, sources, Path(name) / "seg.dcm", chosen)
        differences = seg_differences(seg, made)
        others = attribute_differences(header, _header(made), NOT_CONTENT)
    say = say_unless(as_json)
    same = not any(each.differing for each in differences)
    if as_json:
        segments = [asdict(each) for each in differences]
        print_json({"equal": same, "segments": segments, "attributes": list(others)})
    for each in differences:
        say(f"{each.label}: {each.differing} of {each.voxels} voxels differ")
    if others:
        say(f"other attributes that differ: {', '.join(others)}")
    if not same:
        raise typer.Exit(1)
    say("equal in every voxel" if others else "equal")


def _model_of(header: Dataset, configured: Settings) -> Path:
    """Return the folder of the model that a SEG names, or else that of the configured one."""
    data, named = DataFolder(configured.node.data), configured.engine.model
    usual = served_folder(named, data)
    known = str(header.get("DeviceSerialNumber") or "")
    # With those before and after a promotion.
    faster = configured.engine.backlog_model
    others = [*map(model_folder, [named, *([faster] if faster else [])])]
    others += [*data.models.glob("*/"), *shipped_models().values()]
    manifests = [folder / MANIFEST for folder in (usual, *others)]
    return next(
        (each.parent for each in manifests if each.exists() and _digest(each) == known), usual
    )


def _digest(manifest: Path) -> str:
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


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
    method = to_segmenter(chosen, *to_fleet(chosen, named=chosen.engine.model)).now()
    item = ResultObject(ObjectKind.SEG, _form(header))
    _say_what_changed(header, method.algorithm)
    # The plain SEG is always made: the others are made from the same labels after it.
    method = replace(method, items=frozenset({SEG, item}), derive_frame_of_reference=True)
    outcome = process(sources, target, method, series=str(header.SeriesInstanceUID))
    segs = [each.seg for each in outcome.each if each.seg is not None]
    if not segs:
        raise BadConfiguration(f"there is no SEG this time: {outcome.verdict}: {outcome.reason}")
    made = {file: read_seg_header(file) for file in (item.file_beside(seg) for seg in segs)}
    # One instance may hold several stacks, which have a SEG each.
    return max(made, key=lambda file: made[file].SeriesDescription == header.SeriesDescription)


def _form(header: Dataset) -> SegForm:
    labelmap = header.SOPClassUID == LABEL_MAP_SEGMENTATION
    # Only a lesion of its own is tracked; their number tells nothing, as there may be one.
    per_lesion = any("TrackingUID" in each for each in header.SegmentSequence)
    return SegForm(Encoding.LABELMAP if labelmap else Encoding.BINARY, per_lesion)


def _say_what_changed(header: Dataset, algorithm: Algorithm) -> None:
    """Name model and device, and the ones that the SEG names where these are others."""
    known, digest = str(header.get("DeviceSerialNumber") or ""), algorithm.digest[:12]
    model = f"the same model ({digest})"
    if known != algorithm.digest:
        model = f"another model ({digest}; the SEG names {known[:12]}: give its folder by --model)"
    before = _device(header)
    other = f", not on {before}" if before not in ("", algorithm.device) else ""
    # Not to standard output: JSON may be printed there.
    typer.echo(f"segmenting again with {model} on {algorithm.device}{other}", err=True)


def _device(header: Dataset) -> str:
    """Return the device that a SEG names; empty where it names none."""
    made_by = header.SegmentSequence[0].get("SegmentationAlgorithmIdentificationSequence")
    stated = str(made_by[0].get("AlgorithmParameters") or "") if made_by else ""
    return stated.partition("device=")[2]
