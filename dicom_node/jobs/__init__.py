"""One series is one durable job: segment, write, verify, deliver to each destination, confirm.

A job is a DBOS workflow, and its deliveries are that workflow's children. The states of these
workflows in DBOS are the state of the job; there is no second table that could disagree.

    series ─▶ queue "segment" ─▶ read, search, compute, clean, write, verify
                                     └─▶ queue "deliver <peer>" ─▶ send, or pause and send again
                                                                 ─▶ confirm, or pause and ask again
"""
