from pydicom.uid import UID

from dicom_node.results.attributes.derived_uid import derived_uid


def test_equal_words_give_the_equal_uid_and_other_words_another():
    assert derived_uid("1.2.3", "liver") == derived_uid("1.2.3", "liver")
    assert derived_uid("1.2.3", "liver") != derived_uid("1.2.3l", "iver")
    assert UID(derived_uid("1.2.3")).is_valid


def test_the_uids_stay_what_they_were():
    """A change here makes every lesion of every archive a new one."""
    assert derived_uid("1.2.3", "liver") == "2.25.19830365100356811949420047610391753432"
