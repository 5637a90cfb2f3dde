"""Run models and read SEG objects on labelled patients."""
