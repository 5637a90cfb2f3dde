"""Process one series: read, segment, make results, verify, write."""
