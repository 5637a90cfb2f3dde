"""Deliveries that cannot be made end with a reason."""

import pytest

from dicom_node.deliver.folder import FolderPeer
from dicom_node.errors import NodeError
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.records import DeliveryTask
from dicom_node.jobs.steps.deliverer import Deliverer


def test_a_result_that_is_no_longer_kept_ends_its_delivery_with_the_way_out(tmp_path):
    peer = FolderPeer("shelf", tmp_path / "shelf")
    deliverer = Deliverer({"shelf": peer}, {}, Backoff())
    with pytest.raises(NodeError, match=r"seg is no longer kept; `hepar jobs redo` makes it again"):
        deliverer.deliver(DeliveryTask("1.2", "shelf", "seg", tmp_path / "absent.dcm"))
