"""The schema of DICOM audit messages (PS3.15 A.5.1.1)."""

from functools import cache
from pathlib import Path

from lxml import etree


@cache
def schema():
    return etree.RelaxNG(file=str(Path(__file__).with_name("audit_message.rng")))


def parsed(message):
    """Return an audit message as a tree; fail if it is not as the schema demands."""
    tree = etree.fromstring(message)
    assert schema().validate(tree), schema().error_log
    return tree
