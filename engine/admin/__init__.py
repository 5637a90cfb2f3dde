"""Commands for administrators: `hepar engine …`."""
