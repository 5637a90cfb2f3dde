import numpy as np

from engine.hounsfield import HU_BOUNDS, to_float16


def every_int16():
    return np.arange(-(1 << 15), 1 << 15).astype(np.int16).reshape(4, 128, 128)


def test_every_int16_is_clipped_and_converted():
    hu = every_int16()
    np.testing.assert_array_equal(to_float16(hu), np.clip(hu, *HU_BOUNDS).astype(np.float16))


def test_padding_and_metal_stay_within_what_float16_holds():
    hu = np.array([[[-3024, -1024, 0, 2047, 2048, 32767]]], np.int16)
    assert to_float16(hu).tolist() == [[[-1024, -1024, 0, 2047, 2048, 2048]]]


def test_slices_in_any_memory_layout_are_converted():
    hu = every_int16()[::-1, :, ::2]
    np.testing.assert_array_equal(to_float16(hu), np.clip(hu, *HU_BOUNDS).astype(np.float16))


def test_an_array_that_is_given_is_filled():
    hu, out = every_int16(), np.zeros((4, 128, 128), np.float16)
    assert to_float16(hu, out) is out
    np.testing.assert_array_equal(out, to_float16(hu))
    halves = to_float16(hu)[:2]
    np.testing.assert_array_equal(to_float16(halves, out[2:]), halves)


def test_float16_is_taken_as_it_is():
    hu = np.array([[[0.5, -7]]], np.float16)
    assert to_float16(hu).tolist() == [[[0.5, -7]]]
