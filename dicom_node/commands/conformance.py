"""`hepar conformance`: print the DICOM conformance statement."""

import sys


def conformance() -> None:
    """Print the DICOM conformance statement (PS3.2) as Markdown."""
    from dicom_node.conformance.statement import (
        statement,
    )  # makes objects: half a second for the others

    sys.stdout.write(statement())
