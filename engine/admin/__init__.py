"""What an administrator may do to the engine: `hepar engine …`."""
