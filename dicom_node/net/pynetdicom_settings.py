"""Settings of pynetdicom that exist only as variables of its module.

They are set where an association is opened or a receiver starts, never at import, so that a
program which merely imports this package keeps its own.
"""

from pynetdicom import _config


def configure_pynetdicom() -> None:
    """Set them; repeating it changes nothing."""
    # The default log handlers format every PDU, also when no logger takes the text.
    _config.LOG_HANDLER_LEVEL = "none"
    # `send_c_store(path)` then sends the bytes of the file, and does not decode and re-encode them.
    _config.STORE_SEND_CHUNKED_DATASET = True
