"""A pynetdicom SCP that keeps nothing: what any Python receiver can reach at best.

Run as a program: `python -m tests.benchmarks.bare_scp PORT`.
"""

import sys

from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import CTImageStorage, Verification

if __name__ == "__main__":
    _config.LOG_HANDLER_LEVEL = "none"
    ae = AE("BARE")
    ae.maximum_pdu_size = 0
    ae.add_supported_context(CTImageStorage)
    ae.add_supported_context(Verification)
    ae.start_server(
        ("127.0.0.1", int(sys.argv[1])), evt_handlers=[(evt.EVT_C_STORE, lambda event: 0x0000)]
    )
