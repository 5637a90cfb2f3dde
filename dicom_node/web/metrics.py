"""Metrics for Prometheus, read from the job store and the disk when they are scraped.

Counters start at zero with the node, as Prometheus expects of a process. Each job counts once, when
it has ended for the first time, and so does each delivery that is done; one that fails counts each
time, for alerts.
"""

import shutil
import time
from collections.abc import Hashable, Iterator, Set
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dicom_node.corrections.agreement import RECENT, by_scanner, falls, means
from dicom_node.jobs.ledger import Ledger
from dicom_node.jobs.state import Delivery, Job, State
from dicom_node.web.health import Health
from dicom_node.web.job_view import ENDINGS
from dicom_node.web.view import NodeView

NEWEST = 1000
"""Newest jobs that a scrape reads."""

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Upper bounds of the histogram's buckets."""


class Metrics:
    """The metrics of one node."""

    def __init__(self, node: NodeView, ledger: Ledger, health: Health) -> None:
        self._ledger = ledger
        # Guards what was counted: two scrapes at a time would count a job twice.
        self._lock = Lock()
        self._begun = time.time()
        self._counted: dict[str, Set[Hashable]] = {}
        self._registry = registry = CollectorRegistry()
        self._series = Counter(
            "hepar_series",
            "Series that ended; one that is retried counts once.",
            ["state"],
            registry=registry,
        )
        self._slices = Counter("hepar_slices", "Slices segmented.", registry=registry)
        self._segmented = Counter(
            "hepar_segmented",
            "Series segmented, by model; one that is done again counts once.",
            ["model"],
            registry=registry,
        )
        self._deliveries = Counter(
            "hepar_deliveries", "Deliveries that ended.", ["peer", "state"], registry=registry
        )
        self._stages = Histogram(
            "hepar_stage_seconds",
            "Seconds of each stage of a series.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._registry.register(_Gauges(node, ledger, health))
        self._begin_at_zero(node)

    def _begin_at_zero(self, node: NodeView) -> None:
        """Expose every counter from the start: `increase()` does not see one that appears as 1."""
        for state in ENDINGS:
            self._series.labels(str(state))
        for model in filter(None, (node.algorithm.model, node.backlog_model)):
            self._segmented.labels(model)
        for peer in node.settings.destinations:
            for state in (State.DONE, State.FAILED):
                self._deliveries.labels(peer, str(state))

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        with self._lock:
            self._count(self._ledger.jobs(NEWEST))
            return generate_latest(self._registry)

    def _count(self, jobs: list[Job]) -> None:
        # Replaced, not extended: jobs that are no longer among the newest need not be remembered.
        # One that was counted and is under way again is, or it would count as another series.
        self._counted = {
            job.id: self._count_job(job, self._counted.get(job.id, frozenset())) for job in jobs
        }

    def _count_job(self, job: Job, counted: Set[Hashable]) -> Set[Hashable]:
        """Count what has ended of a job, unless it is `counted`; return all that is counted now."""
        if job.finished is None:
            return counted
        now = counted | {job.id, *map(_ending, job.deliveries)}
        if job.finished.timestamp() < self._begun:  # by the process before this one
            return now
        if job.id not in counted:
            self._series.labels(str(job.state)).inc()
            if job.outcome and job.outcome.seg:
                self._slices.inc(job.outcome.slices)
                if job.outcome.model:  # empty in the result of an older worker
                    self._segmented.labels(job.outcome.model).inc()
            for stage, seconds in (job.outcome.seconds if job.outcome else {}).items():
                self._stages.labels(stage).observe(seconds)
        for each in job.deliveries:
            if _ending(each) not in counted:
                self._deliveries.labels(each.peer, str(each.state)).inc()
        return now


def _ending(delivery: Delivery) -> Hashable:
    """Return what makes the end of a delivery one that was not counted yet."""
    again = delivery.finished if delivery.state is State.FAILED else None
    return delivery.id, delivery.state, again


class _Gauges(Collector):
    """Values of the present moment."""

    def __init__(self, node: NodeView, ledger: Ledger, health: Health) -> None:
        self._node = node
        self._ledger = ledger
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        jobs = self._ledger.jobs(NEWEST)
        states = GaugeMetricFamily("hepar_jobs", "Jobs in the store.", labels=["state"])
        for state in State:
            states.add_metric([state], sum(job.state is state for job in jobs))
        yield states
        waiting = [job.created.timestamp() for job in jobs if job.state is State.WAITING]
        oldest = time.time() - min(waiting) if waiting else 0.0
        yield GaugeMetricFamily(
            "hepar_oldest_waiting_seconds", "Age of the oldest waiting job.", value=oldest
        )
        yield GaugeMetricFamily(
            "hepar_arriving_series", "Series that are coming in.", value=len(self._node.arriving())
        )
        associations = CounterMetricFamily(
            "hepar_associations", "Requests for an association.", labels=["outcome"]
        )
        for outcome, count in self._node.spool.tally.associations().items():
            associations.add_metric([outcome], count)
        yield associations
        instances, size = self._node.spool.tally.read()
        yield CounterMetricFamily("hepar_instances", "Instances received.", value=instances)
        yield CounterMetricFamily("hepar_received_bytes", "Bytes received.", value=size)
        yield GaugeMetricFamily(
            "hepar_disk_free_bytes",
            "Free bytes on the disk of the data folder.",
            value=shutil.disk_usage(self._node.data.folder).free,
        )
        checks = GaugeMetricFamily("hepar_check", "1 if a check passes.", labels=["check"])
        for finding in self._health.ready():
            checks.add_metric([finding.check], float(finding.ok))
        yield checks
        model = GaugeMetricFamily(
            "hepar_model",
            "Model and device; always 1.",
            labels=["model", "version", "device"],
        )
        algorithm = self._node.algorithm
        model.add_metric([algorithm.name, algorithm.version, algorithm.device], 1)
        yield model
        plans = GaugeMetricFamily(
            "hepar_plan", "TensorRT plans; always 1.", labels=["plan", "state"]
        )
        for plan in self._node.plans():
            plans.add_metric([plan.name, plan.state], 1)
        yield plans
        yield from self._agreement()

    def _agreement(self) -> Iterator[Metric]:
        corrections = self._node.corrections.all()
        counts = GaugeMetricFamily(
            "hepar_corrected_results", "Results that people corrected.", labels=["scanner"]
        )
        dice = GaugeMetricFamily(
            "hepar_corrected_dice",
            "Mean Dice of the newest corrected results.",
            labels=["scanner", "structure"],
        )
        for scanner, group in by_scanner(corrections).items():
            counts.add_metric([scanner], len(group))
            for structure, value in means(group[-RECENT:]).items():
                dice.add_metric([scanner, structure], value)
        yield counts
        yield dice
        fell = GaugeMetricFamily(
            "hepar_agreement_fell",
            "1 if newest results agree less with corrections than those before.",
            labels=["scanner", "structure"],
        )
        for each in falls(corrections):
            fell.add_metric([each.scanner, each.structure], 1)
        yield fell
