"""Looking into a model: what each member sees, where it looks, and where the members differ."""
