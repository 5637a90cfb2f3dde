"""Figures become data URIs that a browser shows without another file."""

import base64
from io import BytesIO

import pytest

Image = pytest.importorskip("PIL.Image")
figures = pytest.importorskip("trainer.pages.figures")


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_figure_is_embedded_as_an_image_of_its_kind(kind):
    uri = figures.data_uri(figures.new_figure(2, 1), kind)
    head, _, body = uri.partition(",")
    assert head == f"data:image/{kind};base64"
    image = Image.open(BytesIO(base64.b64decode(body)))
    assert image.format == kind.upper()
    assert image.size == (2 * figures.DPI, 1 * figures.DPI)


def test_a_picture_has_the_proportions_of_the_patient_not_of_the_pixels():
    figure, axes = figures.picture(width=4, rows=50, columns=100, aspect=3)
    assert figure.get_size_inches().tolist() == [4, 6]
    assert axes.get_position().bounds == (0, 0, 1, 1)
