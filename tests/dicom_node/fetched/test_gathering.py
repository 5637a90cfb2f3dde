"""A series of two gateways that have a spool each."""

import os
from itertools import count

import pytest
from pydicom.uid import generate_uid
from sqlalchemy import text

from dicom_node.cluster.membership import Member, Membership
from dicom_node.cluster.shared_assembler import SharedAssembler
from dicom_node.config.cluster_section import ClusterSection
from dicom_node.errors import GatewayAway, RejectedInstance
from dicom_node.fetched.gateways import Gateways
from dicom_node.fetched.gathering import Gathering
from dicom_node.fetched.whereabouts import KeptArrivals, Whereabouts
from dicom_node.receive.spool import Spool
from tests.dicom_node.cluster.test_shared_assembler import QUIET_S, Association, new_series, uids
from tests.dicom_node.fetched.lender import TOKEN, lender
from tests.system.servers import free_port

numbers = count(1)


class Gateway:
    """A gateway without a receiver: its spool, its assembler, its door."""

    def __init__(self, site, lent, name):
        self.site, self.name, self.lent, self.handed = site, name, lent, []
        self.spool = Spool(lent.data.spool)
        self.member = Member(site.cluster, name, "receive", "1", "token")
        Membership(site.engine, site.cluster).beat(self.member)
        self.whereabouts = Whereabouts(site.engine, site.cluster)
        self.whereabouts.announce(name, lent.holder.web.url)
        gateways = Gateways(self.whereabouts, ClusterSection(files="fetched", token=TOKEN))
        arrivals = KeptArrivals(site.engine, site.cluster, name)
        self.gathering = Gathering(self.spool, gateways, arrivals)
        self.assembler = SharedAssembler(
            self.spool,
            self.take,
            arrivals,
            self.gathering.gather,
            quiet_s=QUIET_S,
            clock=lambda: site.now,
        )
        self.association = Association()

    def take(self, series):
        self.handed.append({path.stem: path.read_bytes() for path in series.paths})

    def receive(self, series, instance, content=b"instance"):
        path = self.spool.put(series, instance, content)
        self.assembler.instance_kept(self.association, series)
        self.assembler.round()
        return path

    def quiet(self):
        self.association.alive = False
        self.site.now += QUIET_S + 1
        self.assembler.round()
        self.assembler.hand_over()


class Site:
    def __init__(self, engine):
        self.engine, self.cluster, self.now = engine, f"c{next(numbers)}", 0.0


@pytest.fixture
def site(engine):
    return Site(engine)


@pytest.fixture
def gateways(site, tmp_path):
    with lender(tmp_path / "one") as one, lender(tmp_path / "two") as two:
        yield [Gateway(site, lent, name) for lent, name in ((one, "one"), (two, "two"))]


def test_the_last_gateway_hands_over_what_both_received(gateways):
    series, (a, b) = new_series(), uids(2)
    one, two = gateways
    one.receive(series, a, b"of one")
    two.receive(series, b, b"of two")
    two.quiet()
    assert two.handed == []
    one.quiet()
    assert one.handed == [{a: b"of one", b: b"of two"}]
    assert (one.spool.paths(series)[0].stat().st_mode & 0o077) == 0


def test_a_late_instance_at_the_other_gateway_is_handed_over_with_all(gateways):
    series, (a, b, late) = new_series(), uids(3)
    one, two = gateways
    one.receive(series, a)
    two.receive(series, b)
    two.quiet()
    one.quiet()
    two.receive(series, late)
    two.quiet()
    assert two.handed == [dict.fromkeys([a, b, late], b"instance")]


def test_of_an_instance_that_both_have_the_one_that_came_last_counts(gateways):
    series, (a, b) = new_series(), uids(2)
    one, two = gateways
    os.utime(one.receive(series, a, b"old"), (1, 1))
    os.utime(one.receive(series, b, b"new"), (9e9, 9e9))
    two.receive(series, a, b"new")
    os.utime(two.receive(series, b, b"old"), (1, 1))
    one.quiet()
    two.quiet()
    assert two.handed == [{a: b"new", b: b"new"}]


def test_an_instance_is_fetched_once(gateways):
    series, (a, b) = new_series(), uids(2)
    one, two = gateways
    one.receive(series, a)
    two.receive(series, b)
    asked = one.lent.door.asked
    for _ in range(2):
        two.gathering.gather(series)
    assert len([path for _, path, _ in asked if path.endswith(".dcm")]) == 1


def test_a_series_waits_for_the_gateway_that_holds_some_of_it(gateways):
    series, (a, b) = new_series(), uids(2)
    one, two = gateways
    one.receive(series, a)
    two.receive(series, b)
    one.quiet()
    two.whereabouts.announce("one", f"http://127.0.0.1:{free_port()}")
    two.quiet()
    assert two.handed == []
    assert series in two.assembler.arriving()
    two.whereabouts.announce("one", one.lent.holder.web.url)
    for _ in range(2):  # the pause is longer than the quiet time
        two.quiet()
    assert two.handed == [dict.fromkeys([a, b], b"instance")]


def die(gateway):
    """End as after kill -9: no heartbeat any more, and no door."""
    Membership(gateway.site.engine, gateway.site.cluster).leave(gateway.member)
    gateway.whereabouts.announce(gateway.name, f"http://127.0.0.1:{free_port()}")


@pytest.fixture
def half(gateways):
    """A series of which a gateway that died has one half, and the other one the other."""
    series, (a, b) = new_series(), uids(2)
    one, two = gateways
    one.receive(series, a)
    two.receive(series, b)
    die(one)
    two.quiet()
    assert two.handed == []
    return series, a, b


def test_what_a_dead_gateway_received_is_waited_for(gateways, half):
    _, a, b = half
    one, two = gateways
    Membership(one.site.engine, one.site.cluster).beat(one.member)  # it starts again
    one.whereabouts.announce(one.name, one.lent.holder.web.url)
    one.assembler.recover()
    for gateway in (one, two, one, two):
        gateway.quiet()
    handed = [*one.handed, *two.handed]
    assert handed
    assert all(each == dict.fromkeys([a, b], b"instance") for each in handed)


def test_a_series_that_is_sent_again_as_announced_waits_for_no_dead_gateway(gateways, half):
    series, a, b = half
    _, two = gateways
    two.assembler.expect(series.series_uid, 2)
    two.receive(series, a)
    two.assembler.hand_over()
    assert two.handed == [dict.fromkeys([a, b], b"instance")]


def test_a_gateway_that_is_lost_for_good_can_be_given_up(gateways, half):
    _, _, b = half
    _, two = gateways
    with two.site.engine.begin() as connection:  # as docs/scale.md has it
        connection.execute(text("DELETE FROM hepar.holdings WHERE gateway = 'one'"))
    for _ in range(2):
        two.quiet()
    assert two.handed == [{b: b"instance"}]


def test_what_came_just_before_a_crash_is_fetched_by_the_gateway_that_it_is_left_to(gateways):
    series, (a, b) = new_series(), uids(2)
    one, two = gateways
    one.spool.put(series, a, b"instance")  # and no round
    two.receive(series, b)
    one.assembler.recover()  # it starts again, and leaves the series to the other
    assert one.assembler.arriving() == {}
    two.quiet()
    assert two.handed == [dict.fromkeys([a, b], b"instance")]


def test_a_disk_without_room_takes_nothing(gateways):
    series, (a, b) = new_series(), uids(2)
    one, two = gateways
    one.receive(series, a)
    two.receive(series, b)
    two.spool.keep_free_bytes = 1 << 60
    with pytest.raises(RejectedInstance, match="disk has"):
        two.gathering.gather(series)


def test_a_gateway_that_was_never_started_is_named(gateways):
    with pytest.raises(GatewayAway, match="three was ever started"):
        gateways[0].gathering.gateways.named("three")


def test_what_is_no_longer_held_is_forgotten_unless_more_of_it_may_come(gateways, site):
    series, gone = new_series(), new_series()
    one, _ = gateways
    for each in (series, gone):
        one.receive(each, str(generate_uid()))
    one.whereabouts.forget("one", lambda each: False)
    assert one.whereabouts.holders(gone) == ["one"]  # more may come: it has a part in it
    one.quiet()
    one.spool.remove(one.spool.paths(gone))
    one.whereabouts.forget("one", lambda each: bool(one.spool.paths(each)))
    assert (one.whereabouts.holders(series), one.whereabouts.holders(gone)) == (["one"], [])


def test_a_series_that_comes_while_it_is_looked_for_is_not_forgotten(gateways, site):
    series = new_series()
    one, _ = gateways
    one.receive(series, str(generate_uid()))
    one.quiet()

    def comes_after_the_look(_):
        one.receive(series, str(generate_uid()))
        one.quiet()  # and is handed over: no part of it is left
        return False

    one.whereabouts.forget("one", comes_after_the_look)
    assert one.whereabouts.holders(series) == ["one"]
