"""The archive's side: everything that handles DICOM, and the `hepar` command."""
