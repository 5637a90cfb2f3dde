"""State that the processes of a cluster share in PostgreSQL, and the folder that they share."""
