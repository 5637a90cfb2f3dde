"""Audit trail of the node, as DICOM audit messages (PS3.15 A.5)."""
