"""Results of a patient who does not exist, for rehearsals."""
