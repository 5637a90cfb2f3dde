"""Building and running of TensorRT plans."""
