"""The archive's side: everything that knows DICOM, and the `hepar` command."""
