"""A cluster on one machine, without containers: PostgreSQL, proxy, gateways, workers, archive."""
