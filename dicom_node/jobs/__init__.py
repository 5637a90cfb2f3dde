"""One series is one durable job: segment, write, verify, deliver to each destination, confirm.

A job is a DBOS workflow, and its deliveries are that workflow's children. What a job is doing is
what DBOS says of these workflows; no second table of states is kept.

    series ─▶ queue "segment" ─▶ read, search, compute, clean, write, verify
                                     └─▶ queue "deliver <peer>" ─▶ send, or pause and send again
                                                                 ─▶ confirm, or pause and ask again
"""
