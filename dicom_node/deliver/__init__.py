"""Peers that results are sent to, and how each confirms them."""
