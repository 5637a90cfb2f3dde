"""The exported graph: windows, members and their fusion."""
