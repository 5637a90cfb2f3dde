"""`python -m deploy.stack`: run the stack until Ctrl-C."""

import argparse
import sys
from pathlib import Path

from deploy.stack.ending import is_told, signals
from deploy.stack.errors import StackError
from deploy.stack.example import fill
from deploy.stack.links import Links
from deploy.stack.places import Ports
from deploy.stack.settings import ARCHIVE
from deploy.stack.stack import Stack, running_stack


def main() -> int:
    """Run the stack; the exit status is 1 if it could not, or if a part of it ended."""
    options = _options()
    told = signals()
    ports = Ports.free() if options.free_ports else Ports.usual()
    is_first_start = not (options.folder / ARCHIVE).exists()
    try:
        with running_stack(options.folder, ports, model=options.model) as stack:
            print(_welcome(stack, options.folder), flush=True)
            links = Links(stack.log)
            if is_first_start:
                fill(stack.ports.archive_http)
            while not is_told(told):
                for link in links.fresh():
                    print(f"Segmented: {link}", flush=True)
                if ended := stack.ended():
                    print(f"{ended.name} ended:\n{ended.tail()}", file=sys.stderr)
                    return 1
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.stack", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("stack"), help="what it keeps")
    parser.add_argument("--model", type=Path, help="model folder; without it Hepar's own")
    parser.add_argument("--free-ports", action="store_true", help="take any free ports")
    return parser.parse_args()


def _welcome(stack: Stack, folder: Path) -> str:
    ports, at = stack.ports, stack.viewer
    return f"""
Ready after {stack.seconds:.1f} s.

  Orthanc   {at}/orthanc/app/explorer.html
            upload CT studies here; a study has the button "Segment liver", its state and links
  OHIF      {at}/
            the link to each result is printed here, and by
            {Path(sys.executable).parent}/hepar jobs show JOB --config {folder}/hepar.toml
  Hepar     http://localhost:{ports.node_http}/
            each job, with the link to correct its contours. Its buttons and Try need a login:
            start with HEPAR_HTTP__TOKEN=secret make stack, and log in with that password
  DICOMweb  {at}/dicom-web
  C-STORE   ORTHANC at 127.0.0.1:{ports.archive_dicom}, the node itself HEPAR at :{ports.node_dicom}

Studies, results and logs are kept in {folder}. Ctrl-C stops all of it."""


if __name__ == "__main__":
    sys.exit(main())
