from itertools import permutations

import pytest
from pydicom.uid import UID

from dicom_node.results.attributes.uids import result_uids

SOURCES = ("1.2.3", "1.2.4", "1.2.30")


def all_of(uids):
    return (uids.series, uids.instance, uids.dimensions)


def test_the_order_and_number_of_arrivals_change_nothing():
    expected = result_uids(SOURCES, "digest")
    for order in permutations(SOURCES):
        assert result_uids([*order, order[0]], "digest") == expected


@pytest.mark.parametrize(
    ("sources", "digest"),
    [
        (SOURCES[:2], "digest"),
        ((*SOURCES, "1.2.5"), "digest"),
        (("1.2.3", "1.2.41.2.30"), "digest"),  # the same digits in a row
        (SOURCES, "another"),
    ],
)
def test_other_sources_or_another_model_are_another_object(sources, digest):
    ours, theirs = result_uids(SOURCES, "digest"), result_uids(sources, digest)
    assert not set(all_of(ours)) & set(all_of(theirs))


def test_series_instance_and_dimensions_are_three_valid_uids():
    uids = all_of(result_uids(SOURCES, "digest"))
    assert len(set(uids)) == 3
    for uid in uids:
        assert uid.startswith("2.25.")
        assert UID(uid).is_valid


def test_the_uids_stay_what_they_were():
    """A change here makes every archive keep a second object of the same work."""
    assert result_uids(["1.2.3"], "digest").instance == (
        "2.25.230193813280597983973694670021826912675"
    )


def test_nothing_has_no_uids():
    with pytest.raises(ValueError, match="no source"):
        result_uids([], "digest")
