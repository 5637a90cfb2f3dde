"""From a C-STORE request to a complete series in the spool."""
