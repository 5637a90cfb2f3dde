"""Rules for which series are segmented, and which first."""
