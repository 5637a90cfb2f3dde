"""TensorRT plans: building and running."""
