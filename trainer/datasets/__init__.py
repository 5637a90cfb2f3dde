"""Labelled data as it is downloaded, read into cases and slices.

Whole volumes are `Case`s, axial slices of one size are `Slices`; which data set a folder holds is
seen from the folder.
"""
