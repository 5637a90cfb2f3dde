"""From a complete series to a job."""
