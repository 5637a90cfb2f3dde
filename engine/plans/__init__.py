"""Built TensorRT engines: what each belongs to, whether it may serve, and which one does."""
