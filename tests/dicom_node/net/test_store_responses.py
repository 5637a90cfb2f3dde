"""C-STORE responses are the bytes that pynetdicom would send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.net import store_responses
from dicom_node.net.store_responses import encoded_response
from tests.conftest import make_ct_series

UIDS = st.lists(st.integers(0, 10**9), min_size=2, max_size=6).map(
    lambda parts: "1." + ".".join(map(str, parts))
)


def response(message=1, class_uid=CTImageStorage, instance_uid="1.2.3", status=0x0000):
    made = C_STORE()
    made.MessageIDBeingRespondedTo = message
    made.AffectedSOPClassUID, made.AffectedSOPInstanceUID = class_uid, instance_uid
    made.Status = status
    return made


def as_pynetdicom_encodes(primitive):
    message = C_STORE_RSP()
    message.primitive_to_message(primitive)
    (sent,) = message.encode_msg(1, 0)
    ((_, value),) = sent.presentation_data_value_list
    return value


@given(st.integers(0, 0xFFFF), UIDS, UIDS, st.sampled_from([0x0000, 0xA700, 0xA900, 0xC000]))
def test_a_response_is_encoded_as_pynetdicom_does(message, class_uid, instance_uid, status):
    made = response(message, class_uid, instance_uid, status)
    assert store_responses.LAST_OF_COMMAND + encoded_response(made) == as_pynetdicom_encodes(made)


@pytest.mark.parametrize(
    "change",
    [
        {"ErrorComment": "why"},
        {"OffendingElement": [0x00080018]},
        {"AffectedSOPInstanceUID": None},
        {"MessageIDBeingRespondedTo": None},
    ],
)
def test_a_response_with_other_fields_is_left_to_pynetdicom(change):
    made = response()
    for name, value in change.items():
        setattr(made, name, value)
    assert encoded_response(made) is None


def test_other_messages_are_left_to_pynetdicom():
    assert encoded_response(C_ECHO()) is None


@pytest.mark.parametrize(("most", "encoded_here"), [(0, 2), (128, 0), (16384, 2)])
def test_a_sender_has_answers_whatever_the_longest_pdu_that_it_takes(
    most, encoded_here, receiver, monkeypatch
):
    made = []

    def counted():
        made.append(P_DATA())
        return made[-1]

    monkeypatch.setattr(store_responses, "P_DATA", counted)
    address, _ = receiver()
    sender = AE("CT")
    sender.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = sender.associate(*address, ae_title="TEST", max_pdu=most)
    assert association.is_established
    for each in make_ct_series(2):
        assert association.send_c_store(each).Status == 0x0000
    association.release()
    assert len(made) == encoded_here
