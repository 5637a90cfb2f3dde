"""A build that ends with kill -9, in a process of its own."""

import os
import signal

from engine.plans import lock as files
from engine.plans.store import PlanStore
from tests.engine.plans.factories import make_manifest


def build_until_killed(folder, stage):
    """Keep a plan, and die at a stage of it."""

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def write_and_die(manifest):
        files.os.fsync = die
        write(manifest)

    store = PlanStore(folder)
    write = store._write
    with store.building():
        if stage == "while writing":
            files.os.fsync = die
        elif stage == "before the manifest":
            store._write = die
        elif stage == "while the manifest is written":
            store._write = write_and_die
        store.keep(make_manifest(b"killed"), b"killed")
