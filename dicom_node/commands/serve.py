"""`hepar serve`: run the node until it is stopped."""

import logging
import os

from dicom_node.commands.arguments.options import Config, Model, settings
from dicom_node.logs import start_logging
from dicom_node.node.startup import starting


def serve(config: Config = None, model: Model = None) -> None:
    """Run the node: receive CT series, segment them, deliver the results.

    Without a configuration it listens as HEPAR on 127.0.0.1:11112 and delivers to the folder
    `delivered` in its data folder. SIGINT or SIGTERM ends it; what is under way goes on next time.
    """
    start_logging()
    with starting(settings(config, model)) as opened:
        from dicom_node.node import node  # a second of imports, while the device opens

        node.serve(opened)
    logging.shutdown()
    # A delivery may be in the middle of a pause of minutes, or a series half computed. Both are
    # durable, and neither should hold up the end, as Python's own exit would let them.
    os._exit(0)
