"""Base images of the containers, and the digests that pin them."""
