"""CT volumes and labels as NIfTI files, which hold no patient and no series."""
