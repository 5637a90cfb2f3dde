"""Outcome of an action on each of several jobs: a line, or JSON."""

from collections.abc import Callable, Iterable

from rich.console import Console

from dicom_node.jobs.state import Job
from engine.json_output import print_json


def act_and_print(jobs: Iterable[Job], act: Callable[[Job], str], as_json: bool) -> None:
    """Act on each job and print what was done: lines as it is done, or one JSON array at the end.

    Args:
        jobs: to act on.
        act: returns what it did; a job for which it returns nothing is not printed.
        as_json: whether JSON is printed.
    """
    answers: list[dict[str, str]] = []
    try:
        for job in jobs:
            if not (message := act(job)):
                continue
            answers.append({"job": job.id, "series": job.series_uid, "done": message})
            if not as_json:
                line = f"{job.id}: {message}"
                Console().print(line, markup=False, highlight=False, soft_wrap=True)
    finally:
        # Also where a later job is unknown: what was done before it stays done.
        if as_json:
            print_json(answers)
