"""Small registers of a node, each in an SQLite file of its data folder."""
