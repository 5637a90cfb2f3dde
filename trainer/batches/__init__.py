"""Batches of training slices: sampled, augmented, in a fixed order."""
