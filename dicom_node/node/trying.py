"""Uploads at the page, where the node has one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.tryout.bounds import MB, Bounds
from dicom_node.tryout.compute import Means
from dicom_node.tryout.desk import Desk
from dicom_node.tryout.shelf import Shelf


@contextmanager
def trying(settings: Settings, means: Means) -> Iterator[Desk | None]:
    """Compute uploads while the block lasts; yields None where the node takes none."""
    http = settings.http
    if http.port is None or not http.try_mb:
        yield None
        return
    shelf = Shelf(DataFolder(settings.node.data).tries, timedelta(hours=http.try_keep_h))
    bounds = Bounds(http.try_mb * MB, settings.receive.keep_free_mb * MB)
    desk = Desk(shelf, bounds, means)
    with desk.working():
        yield desk
