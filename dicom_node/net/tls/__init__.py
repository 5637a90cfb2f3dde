"""TLS contexts of associations (PS3.15 B)."""
