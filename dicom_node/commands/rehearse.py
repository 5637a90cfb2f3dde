"""`hepar rehearse`: find out with a synthetic patient what a peer accepts."""

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dicom_node.commands.arguments.archive import say
from dicom_node.commands.arguments.options import Config, settings
from dicom_node.commands.arguments.peer_argument import peer_named
from dicom_node.commands.synthetic.synthetic_objects import (
    NOTICES,
    write_notices,
    write_objects,
)
from dicom_node.deliver.rehearsal import Rehearsed, clean_up
from dicom_node.deliver.rehearsal import rehearse as rehearse_objects
from dicom_node.logs import quieten_libraries
from dicom_node.results.objects import SEG, Encoding, ObjectKind
from engine.json_output import Json, print_json

LABELMAP = f"{SEG.name}-{Encoding.LABELMAP}"


def rehearse(
    peer: Annotated[
        str,
        typer.Argument(
            metavar="PEER", help="Name of a peer in the configuration, or AET@HOST:PORT."
        ),
    ],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Send the results of a synthetic patient to PEER, in every kind and encoding, and notices.

    They are looked for, read back and removed where the peer allows it. The lines to put into its
    table of the configuration are printed at the end. The exit status is 1 if it accepts no SEG.
    """
    quieten_libraries()
    called = peer_named(peer, settings(config))
    with TemporaryDirectory(prefix="hepar-") as folder:
        files = {item.name: file for item, file in write_objects(Path(folder)).items()}
        files |= write_notices(Path(folder), files[SEG.name])  # last: one rejects the SEG
        with Console(stderr=True).status("rehearsing …"):
            seen = list(rehearse_objects(called, files))
            left = clean_up(called, files) if any(each.accepted for each in seen) else ""
    lines = settings_of(seen)
    if as_json:
        objects = [asdict(each) for each in seen]
        print_json({"peer": called.name, "objects": objects, "to_do": left, "settings": lines})
    else:
        _print(seen, left, called.name, lines)
    if not lines:
        raise typer.Exit(1)


def _print(seen: list[Rehearsed], left: str, peer: str, lines: list[str]) -> None:
    Console().print(_table(seen))
    if left:
        say(left)
    if not lines:
        say(f"{peer} accepts no SEG, so nothing can be delivered to it")
        return
    say(f"\n[peers.{peer}]")
    for line in lines:
        say(line)


def settings_of(seen: list[Rehearsed]) -> list[str]:
    """Return the lines of the configuration that work; none if the peer accepts no SEG."""
    accepted = {each.name: each for each in seen if each.accepted and each.name not in NOTICES}
    binary = SEG.name in accepted
    if not binary and LABELMAP not in accepted:
        return []
    kinds = [ObjectKind.SEG, *(kind for kind in ObjectKind if kind in accepted and kind != "seg")]
    if not binary:  # a report refers to the segments of a BINARY SEG only
        kinds = [kind for kind in kinds if kind is not ObjectKind.REPORT]
    means = [set(each.confirmed_by) for each in accepted.values()]
    first = next(iter(accepted.values()))
    common = [each for each in first.confirmed_by if all(each in some for some in means)]
    encoding = Encoding.BINARY if binary else Encoding.LABELMAP
    quoted = ", ".join(f'"{kind}"' for kind in kinds)
    lines = [f"objects = [{quoted}]", f'seg_encoding = "{encoding}"']
    if common != ["written"]:  # a folder has no such key
        lines.append(f'confirm = "{common[0] if common else "none"}"')
    return lines


def _table(seen: list[Rehearsed]) -> Table:
    table = Table("object", "", "confirmed by", "read back", "", box=None)
    for each in seen:
        mark = Text("accepted", "green") if each.accepted else Text("refused", "bold red")
        by = ", ".join(each.confirmed_by)
        table.add_row(each.name, mark, by, Text(each.read_back), Text(each.remark))
    return table
