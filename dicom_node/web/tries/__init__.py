"""The page "Try": drop a scan, scroll through the contours, take the results."""
