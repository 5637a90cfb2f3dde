from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import create_file_meta, encode, encode_file_meta

from dicom_node.receive.part10 import to_part10


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"])  # odd and even: one needs padding
def test_the_file_is_what_pydicom_would_have_written(ct_series, uid):
    (instance,) = ct_series(slices=1)
    instance.SOPInstanceUID = uid
    data_set = encode(instance, is_implicit_vr=False, is_little_endian=True)
    uids = (instance.SOPClassUID, instance.SOPInstanceUID, ExplicitVRLittleEndian)
    meta = create_file_meta(
        sop_class_uid=uids[0], sop_instance_uid=uids[1], transfer_syntax=uids[2]
    )
    file = b"".join(to_part10(data_set, *uids).pieces())
    assert file == bytes(128) + b"DICM" + encode_file_meta(meta) + data_set
    assert dcmread(BytesIO(file)) == instance


@pytest.mark.parametrize("sender", ["CT1", "CT_1", ""])
def test_the_sender_is_named_where_it_is_known(ct_series, sender):
    (instance,) = ct_series(slices=1)
    data_set = encode(instance, is_implicit_vr=False, is_little_endian=True)
    uids = (instance.SOPClassUID, instance.SOPInstanceUID, ExplicitVRLittleEndian)
    meta = create_file_meta(
        sop_class_uid=uids[0], sop_instance_uid=uids[1], transfer_syntax=uids[2]
    )
    if sender:
        meta.SendingApplicationEntityTitle = sender
    file = b"".join(to_part10(data_set, *uids, sender).pieces())
    assert file == bytes(128) + b"DICM" + encode_file_meta(meta) + data_set
