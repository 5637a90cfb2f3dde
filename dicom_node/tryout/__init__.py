"""Uploads that are segmented for a person at the page: intake, computation, kept results."""
