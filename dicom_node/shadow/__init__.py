"""Shadow model: a candidate that computes what the serving model computed, for comparison alone.

    result of a job  ->  register  ->  labels by the shadow, when no job waits  ->  compared with
    corrections  ->  `hepar model promote`

Nothing of it is delivered, and nothing of it fails or delays a job.
"""
