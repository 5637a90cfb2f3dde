"""Search archives and folders, and fetch series (C-FIND, C-GET, C-MOVE, QIDO-RS, WADO-RS)."""
