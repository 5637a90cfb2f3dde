"""`hepar model shadow`, `promote` and `rollback`: a candidate beside the model that serves."""
