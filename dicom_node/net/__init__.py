"""pynetdicom associations, and every repair of pynetdicom."""
