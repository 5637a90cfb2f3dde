"""Training configurations."""
