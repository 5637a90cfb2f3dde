"""How well a model marks what experts drew."""
