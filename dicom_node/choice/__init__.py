"""Choice of the best series of a study."""
