"""Archive, viewer and node together on one machine, without containers."""
