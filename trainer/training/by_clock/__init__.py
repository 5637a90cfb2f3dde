"""Training that ends at a given time."""
