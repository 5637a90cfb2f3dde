"""A view of a node that is not running, with a desk."""

from datetime import timedelta

from dicom_node.data_folder import DataFolder
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.tryout.bounds import MB, Bounds
from dicom_node.tryout.desk import Desk
from dicom_node.tryout.shelf import Shelf
from dicom_node.web.view import NodeView


def view_of(settings):
    """Return a view whose desk computes nothing."""
    shelf = Shelf(DataFolder(settings.node.data).tries, timedelta(hours=1))
    return NodeView(
        settings,
        Algorithm("toy", "0.1", "ab" * 32, "cpu"),
        ("127.0.0.1", 1),
        list,
        lambda: True,
        lambda: "cpu",
        desk=Desk(shelf, Bounds(MB, 0), None),
    )
