"""Run one role of a cluster until it is stopped."""

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from dicom_node.config.settings import Settings
from dicom_node.logs import start_logging
from dicom_node.node.joining import Joined, joined, require_postgres
from dicom_node.node.node import run_until_signal

Role = Callable[[Joined], AbstractContextManager[Any]]
"""Does the work of a role while its block lasts."""


def run_role(name: str, settings: Settings, role: Role) -> None:
    """Run a role until SIGINT or SIGTERM ends the process.

    Raises:
        NodeError, EngineError: it could not start; the message names the remedy.
    """
    require_postgres(settings, name)
    start_logging()
    with joined(settings, name) as me:
        run_until_signal(role(me))
    logging.shutdown()
    # As `hepar serve` ends: what is under way is durable, and must not hold up the end.
    os._exit(0)
