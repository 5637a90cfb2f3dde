"""The DICOM conformance statement (PS3.2), written from the tables that the code itself uses."""
