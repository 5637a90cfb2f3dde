"""Independent read-back of the objects that were written."""
