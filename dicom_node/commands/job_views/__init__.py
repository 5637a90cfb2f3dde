"""Jobs as tables and details on a terminal, and as JSON."""
