"""HTTP servers of a process."""
