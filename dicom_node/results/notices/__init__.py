"""Objects that say something about results, or about why there are none."""
