"""Failure statuses become errors that are tried again, or not."""

import pytest

from dicom_node.errors import PeerRefused, PeerUnavailable
from dicom_node.net.status import error_for_status, is_stored


@pytest.mark.parametrize("status", [0x0000, 0x0001, 0x0107, 0x0116, 0xB000, 0xB006, 0xBFFF])
def test_success_and_warnings_mean_that_the_object_is_stored(status):
    assert is_stored(status)


@pytest.mark.parametrize("status", [0x0002, 0x0110, 0x0111, 0xA700, 0xAFFF, 0xC000, 0xFE00])
def test_failures_mean_that_it_is_not(status):
    assert not is_stored(status)


@pytest.mark.parametrize(
    ("status", "error", "meaning"),
    [
        (0x0110, PeerUnavailable, "processing failure"),
        (0x0122, PeerRefused, "SOP class not supported"),
        (0x0124, PeerRefused, "not authorised"),
        (0x0213, PeerUnavailable, "resource limitation"),
        (0xA700, PeerUnavailable, "out of resources"),
        (0xA7FF, PeerUnavailable, "out of resources"),
        (0xA76F, PeerUnavailable, "out of resources"),
        (0xA770, PeerRefused, "a reason of its own"),
        (0xA77F, PeerRefused, "a reason of its own"),
        (0xA780, PeerUnavailable, "out of resources"),
        (0xA900, PeerRefused, "data set does not match SOP class"),
        (0xA9FF, PeerRefused, "data set does not match SOP class"),
        (0xC000, PeerRefused, "cannot understand"),
        (0xC123, PeerRefused, "cannot understand"),
        (0x0999, PeerRefused, "a failure"),
    ],
)
def test_a_status_has_its_meaning_and_says_whether_to_try_again(status, error, meaning):
    found = error_for_status("PACS", status)
    assert type(found) is error
    expected = f"PACS answered 0x{status:04X} ({meaning})"
    if error is PeerRefused:
        expected += "; see the peer's log for what it expects"
    assert str(found) == expected


def test_the_peers_comment_is_quoted():
    found = error_for_status("PACS", 0xC001, "not for this modality")
    assert str(found).startswith(
        'PACS answered 0xC001 (cannot understand): "not for this modality"; see'
    )
