"""The commands that run one role of a cluster, one module each."""
