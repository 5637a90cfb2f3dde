"""Work that waits for room on the disk, in place of failing for want of it."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from dicom_node.errors import NodeError, lacks_room

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

ROOM_S = 15.0
"""Seconds until work that found no room is tried again."""

MOST = 5760
"""Tries, which take a day: a series must end, also where nobody makes room."""

SPOKEN = 40
"""Every so many tries the log has a line: ten minutes."""


def with_room(work: Callable[[], Result], *, action: str, series: str) -> Result:
    """Return what `work` returns, once the disk has room for it.

    Raises:
        NodeError: it had none for a day.
    """
    extra = {"action": action, "series": series}
    for tries in range(MOST):
        try:
            return work()
        except Exception as error:
            if not lacks_room(error):
                raise
            if tries % SPOKEN == 0:
                logger.error("no room on the disk; waits for it: free space", extra=extra)
        # In the thread of the job: other jobs need the same room.
        time.sleep(ROOM_S)
    raise NodeError("the disk had no room for a day; free space, then retry the job")
