"""The running node, put together from its parts."""
