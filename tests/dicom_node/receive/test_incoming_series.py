"""Pauses of a series that is not taken."""

from dicom_node.receive.incoming_series import IncomingSeries


def pauses(*, lacks_room):
    series, taken = IncomingSeries(0.0), []
    for _ in range(12):
        taken.append(series.pause_s)
        series = series.refused(0.0, lacks_room=lacks_room)
    return taken


def test_pauses_grow_to_ten_minutes_and_on_a_full_disk_to_twenty_seconds():
    assert pauses(lacks_room=False)[:4] == [5, 10, 20, 40]
    assert pauses(lacks_room=False)[-1] == 600
    assert pauses(lacks_room=True) == [5, 10, *[20] * 10]


def test_room_that_comes_late_is_noticed_soon():
    series = IncomingSeries(0.0, refusals=9)
    assert series.refused(0.0, lacks_room=True).pause_s == 20
