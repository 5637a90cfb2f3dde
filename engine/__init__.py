"""Arrays in, labels out: models, devices, cleaning; knows no DICOM and no training."""
