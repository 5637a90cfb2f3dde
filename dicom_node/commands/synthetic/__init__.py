"""Objects without a patient: for rehearsals, and the twin of a job for maintainers."""
