"""Choice of the device that serves, and turns on it."""
