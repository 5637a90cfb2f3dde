"""Messages by webhook and mail when the node is not ready or a delivery failed."""
