"""Tumours put into livers, as real ones look in slices (Hu et al., CVPR 2023, arXiv:2303.14869).

An ellipse, bent, with a soft edge; darker than the liver around it; the noise of the scan, no
vessels, and a texture of its own; at times a bright capsule; its surroundings pushed aside. Sizes,
contrasts and edges are those of 923 outlines of tumours in slices of 22 patients of LiTS, each
patient counting alike. Through neighbouring slices a tumour goes as an ellipsoid.
"""
