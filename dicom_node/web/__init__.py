"""The operator's page, health, metrics and the state of jobs over HTTP."""
