"""Instances of a series dealt over two gateways, in any order, with aborts."""

import time
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from dicom_node.cluster.arrivals import Arrivals, Studies
from dicom_node.cluster.gateway_intake import GatewayIntake
from dicom_node.cluster.membership import Member, Membership
from dicom_node.cluster.shared_assembler import SharedAssembler
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.spool import Spool

QUIET_S = 100.0

gateway_numbers = count()


class Gateway:
    """A gateway without a network: its assembler, and the associations to it."""

    def __init__(self, site):
        self.site, self.name = site, f"gateway-{next(gateway_numbers)}"
        self.member = Member(site.folder, self.name, "receive", "1", "token")
        Membership(site.engine, site.folder).beat(self.member)
        self.assembler = SharedAssembler(
            Spool(site.path, shared=True),
            self.take,
            Arrivals(site.engine, site.folder, self.name),
            quiet_s=QUIET_S,
            clock=lambda: site.now,
        )
        self.association = None

    def take(self, series):
        self.site.handed.append({path.stem for path in series.paths})

    def receive(self, series, instance):
        if self.association is None:
            self.association = Association()
        self.assembler.spool.put(series, instance, b"instance")
        self.assembler.instance_kept(self.association, series)
        self.assembler.round()

    def hang_up(self):
        if self.association is not None:
            self.association.alive = False
            self.assembler.association_closed(self.association)
            self.association = None

    def look(self):
        self.assembler.round()
        self.assembler.hand_over()

    def die(self):
        """Stop as after kill -9: what PostgreSQL has of it stays, its heartbeat ends."""
        Membership(self.site.engine, self.site.folder).leave(self.member)


class Association:
    alive = True

    def is_alive(self):
        return self.alive


class Site:
    """Two gateways on one folder."""

    def __init__(self, engine, path):
        self.engine, self.path, self.folder = engine, path, str(generate_uid())
        self.now, self.handed = 0.0, []
        self.gateways = [Gateway(self), Gateway(self)]

    def settle(self):
        """Let time pass until nothing more happens."""
        for gateway in self.gateways:
            gateway.hang_up()
        for _ in range(3):
            self.now += QUIET_S + 1
            for gateway in self.gateways:
                gateway.look()


@pytest.fixture
def site(engine, tmp_path):
    return Site(engine, tmp_path / "spool")


def new_series():
    return SeriesKey(generate_uid(), generate_uid())


def uids(number):
    return [generate_uid() for _ in range(number)]


deals = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(["next", "again", "abort", "look"])),
    min_size=1,
    max_size=30,
)
quickly = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def deal(site, steps, pause_s):
    """Deal instances of a new series over the gateways; return it, and the instances."""
    series, sent = new_series(), []
    for number, action in steps:
        gateway = site.gateways[number]
        if action == "abort":
            gateway.hang_up()
        elif action == "look":
            gateway.look()
        else:
            again = action == "again" and sent
            instance = sent[-1] if again else str(generate_uid())
            gateway.receive(series, instance)
            sent.append(instance)
        site.now += pause_s
    return series, set(sent)


@quickly
@given(deals)
def test_a_series_dealt_over_two_gateways_is_handed_over_once_and_whole(engine, tmp_path, steps):
    site = Site(engine, tmp_path / str(generate_uid()))
    _, sent = deal(site, steps, pause_s=1.0)
    site.settle()
    assert site.handed == ([sent] if sent else [])


@quickly
@given(deals, st.integers(0, 1))
def test_a_series_with_pauses_between_its_instances_is_whole_in_the_end(
    engine, tmp_path, steps, late
):
    site = Site(engine, tmp_path / str(generate_uid()))
    series, sent = deal(site, steps, pause_s=QUIET_S / 2)
    site.gateways[late].receive(series, last := str(generate_uid()))
    site.settle()
    assert site.handed[-1] == sent | {last}
    # Nothing is left that could be handed over, or wait for anybody.
    assert Studies(engine, site.folder).arriving() == []


def test_the_announced_number_counts_the_instances_of_all_gateways(site):
    series, (one, two, three) = new_series(), uids(3)
    first, second = site.gateways
    first.assembler.expect(series.series_uid, 3)
    first.receive(series, one)
    second.receive(series, two)
    second.look()
    assert site.handed == []
    second.receive(series, three)
    # Both associations stay open, as a router's may all day.
    second.look()
    assert site.handed == [{one, two, three}]
    site.settle()
    assert {frozenset(each) for each in site.handed} == {frozenset({one, two, three})}


def test_what_a_gateway_leaves_while_another_hands_over_is_handed_over_too(site, monkeypatch):
    series, (one, two) = new_series(), uids(2)
    first, second = site.gateways

    def take(handed):
        Gateway.take(first, handed)
        if len(site.handed) == 1:  # in the middle of it, all of the other's part
            second.receive(series, two)
            second.hang_up()
            second.assembler.close(series, site.now)
            second.look()

    monkeypatch.setattr(first.assembler, "_taker", take)
    first.receive(series, one)
    first.hang_up()
    site.now += QUIET_S + 1
    first.look()
    assert site.handed == [{one}]
    site.settle()
    assert site.handed[-1] == {one, two}


def test_the_part_of_a_gateway_that_died_is_handed_over_by_another(site):
    series, (one, two) = new_series(), uids(2)
    dead, other = site.gateways
    dead.receive(series, one)
    other.receive(series, two)
    dead.die()
    site.gateways = [other]
    site.settle()
    assert site.handed[-1] == {one, two}
    assert Studies(site.engine, site.folder).arriving() == []


def test_a_gateway_is_drained_once_its_series_are_handed_over_and_takes_no_other(site):
    mine, others = new_series(), new_series()
    draining, dead = site.gateways
    intake = GatewayIntake(Arrivals(site.engine, site.folder, draining.name))
    open_associations = [1]
    intake.stop()
    assert intake.closed()
    assert not intake.is_empty()  # it is not seen yet what is left
    intake.watch(draining.assembler, lambda: len(open_associations))
    intake.stop()
    draining.receive(mine, *uids(1))
    dead.receive(others, *uids(1))
    dead.die()
    site.gateways = [draining]
    assert not intake.is_empty()
    site.settle()
    assert len(site.handed) == 1
    assert not intake.is_empty()
    open_associations.clear()
    assert intake.is_empty()
    intake.go_on()
    assert not intake.closed()
    site.settle()
    assert len(site.handed) == 2


def test_a_gateway_that_starts_leaves_what_another_receives(site):
    series, other_series, (one, two) = new_series(), new_series(), uids(2)
    site.gateways[0].receive(series, one)
    site.gateways[0].assembler.spool.put(other_series, two, b"of a gateway that died unseen")
    started = Gateway(site)
    started.assembler.recover()
    assert set(started.assembler.arriving()) == {other_series}
    site.gateways.append(started)
    site.settle()
    assert sorted(map(sorted, site.handed)) == sorted([[one], [two]])


def test_a_study_is_quiet_once_no_gateway_receives_a_series_of_it(site):
    series, (one,) = new_series(), uids(1)
    studies = Studies(site.engine, site.folder)
    site.gateways[0].receive(series, one)
    assert studies.quiet_s(series.study_uid) == 0
    assert [key for key, _ in studies.arriving()] == [series]
    site.settle()
    assert studies.quiet_s(series.study_uid) == float("inf")


def test_instances_are_kept_while_the_store_is_away(site, monkeypatch):
    series, (one,) = new_series(), uids(1)
    gateway = site.gateways[0]
    with monkeypatch.context() as away:
        refused = SimpleNamespace(open=_refuse, mine=_refuse, adopt=_refuse)
        away.setattr(gateway.assembler, "_arrivals", refused)
        gateway.assembler.spool.put(series, one, b"instance")
        gateway.assembler.instance_kept(association := Association(), series)
        association.alive = False
        site.now += QUIET_S + 1
        gateway.assembler.hand_over()
    assert site.handed == []
    site.settle()
    assert site.handed == [{one}]


def _refuse(*arguments):
    raise ConnectionError("the store is away")


def test_the_time_by_which_jobs_are_queued_is_the_servers(engine, monkeypatch):
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began + 300.0)
    assert Studies(engine, "folder").now_s() == pytest.approx(began, abs=60)
