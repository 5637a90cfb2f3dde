"""The engine: CT volumes in, label maps out. It imports neither DICOM nor training code."""
