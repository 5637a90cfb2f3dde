"""The steps of the workflows: segment a series, deliver a result."""
