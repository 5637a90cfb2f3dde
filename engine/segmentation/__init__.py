"""From a volume to a label map."""
