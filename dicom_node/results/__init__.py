"""The DICOM objects made from a label map."""
