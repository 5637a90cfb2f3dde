"""The study that a new archive starts with: a phantom, drawn by a program."""

import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.stack.errors import StackError


class NoExample(StackError):
    """The example study could not be drawn or uploaded."""


def fill(port: int) -> None:
    """Load the example study into a new archive and say so; a stack without it is as good.

    Args:
        port: of Orthanc's HTTP on 127.0.0.1.
    """
    print("\nFirst start: loading an example study, an abdomen drawn by a program ...", flush=True)
    try:
        count = load_example(f"http://127.0.0.1:{port}")
    except NoExample as error:
        print(error, file=sys.stderr)
    else:
        print(f"Loaded, {count} slices. The link to its result follows in a minute.", flush=True)


def load_example(archive: str, options: Sequence[str] = ()) -> int:
    """Upload a phantom to Orthanc, as its page does; return the number of slices.

    Args:
        archive: Orthanc's address.
        options: of `hepar phantom`.

    Raises:
        NoExample: it could not be drawn, or Orthanc did not take it.
    """
    hepar = str(Path(sys.executable).with_name("hepar"))
    with TemporaryDirectory(prefix="hepar-example-") as folder:
        try:
            subprocess.run(
                [hepar, "phantom", folder, *options], check=True, capture_output=True, text=True
            )
            files = sorted(Path(folder, "ct").iterdir())
            for file in files:
                with urllib.request.urlopen(f"{archive}/instances", file.read_bytes(), 60):
                    pass
        except subprocess.CalledProcessError as error:
            raise NoExample(f"no example study: {error.stderr.strip()}") from error
        except OSError as error:
            raise NoExample(f"no example study: {error}") from error
    return len(files)
