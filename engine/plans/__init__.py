"""Store of built TensorRT engines: identity, verification and activation."""
