"""NIfTI files are read the right way round, and labels come back where they were drawn."""

import gzip
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from dicom_node.errors import UnsupportedSeries
from dicom_node.nifti.image import is_nifti, read_nifti, stem_of, write_labels
from dicom_node.series.reading import read_series
from dicom_node.series.volume import to_volume
from engine.volume import LabelMap

SIDES = "LR", "AP", "IS"
TURNS = ["".join(codes) for sides in permutations(SIDES) for codes in product(*sides)]
"""The 48 ways in which the axes of a file may run."""
UPRIGHT = np.eye(3)
LEFT, _, RIGHT = np.linalg.svd([[0.98, -0.14, 0.1], [0.15, 0.98, -0.08], [-0.09, 0.09, 0.99]])
TILTED = LEFT @ RIGHT  # a rotation by 13 degrees


@pytest.fixture
def hu():
    """Eight voxels to the right, seven to the front, five to the head, no two planes alike."""
    return np.random.default_rng(1).integers(-1000, 1000, (8, 7, 5)).astype(np.int16)


def ras_affine(axes=UPRIGHT):
    affine = np.eye(4)
    affine[:3, :3] = axes * (0.8, 0.9, 2.5)
    affine[:3, 3] = -30, 12, 140
    return affine


def turned(values, affine, codes):
    """Store the same voxels with axes that run as `codes` states."""
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(codes))
    stored = nibabel.orientations.apply_orientation(values, turn)
    return stored, affine @ inv_ornt_aff(turn, values.shape)


def save(path, values, affine, **header):
    image = nibabel.Nifti1Image(values, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    nibabel.save(image, path)
    if header:  # nibabel itself would write one that agrees with the affine
        content = bytearray(path.read_bytes())
        changed = nibabel.Nifti1Header(bytes(content[:348]))
        for field, value in header.items():
            changed[field] = value
        content[:348] = changed.binaryblock
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("axes", [UPRIGHT, TILTED], ids=["upright", "oblique"])
def test_whichever_way_the_axes_run_the_volume_is_the_same(hu, tmp_path, axes):
    wanted = read_nifti(save(tmp_path / "a.nii", *turned(hu, ras_affine(axes), "RAS"))).volume
    np.testing.assert_array_equal(wanted.hu, hu[::-1, ::-1].transpose(2, 1, 0))
    for codes in TURNS:
        read = read_nifti(save(tmp_path / "b.nii", *turned(hu, ras_affine(axes), codes))).volume
        np.testing.assert_array_equal(read.hu, wanted.hu, codes)
        np.testing.assert_allclose(read.geometry.affine, wanted.geometry.affine, atol=1e-4)


def test_a_label_lies_at_the_millimetres_of_its_voxel(hu, tmp_path):
    """ITK reads the labels, which shares no code with nibabel."""
    for codes in TURNS:
        file = save(tmp_path / "scan.nii.gz", *turned(hu, ras_affine(TILTED), codes))
        scan = read_nifti(file)
        labels = np.zeros(scan.volume.hu.shape, np.uint8)
        labels[3, 5, 6] = 2
        made = write_labels(LabelMap(labels, scan.volume.geometry), scan)
        (tmp_path / "labels.nii.gz").write_bytes(made)
        source = SimpleITK.ReadImage(file)
        written = SimpleITK.ReadImage(tmp_path / "labels.nii.gz")
        ((k, j, i),) = np.argwhere(SimpleITK.GetArrayFromImage(written) == 2).tolist()
        place = written.TransformIndexToPhysicalPoint((i, j, k))
        drawn = (scan.volume.geometry.affine @ [3, 5, 6, 1])[:3]
        np.testing.assert_allclose(place, drawn, atol=1e-3, err_msg=codes)
        assert source.GetPixel((i, j, k)) == scan.volume.hu[3, 5, 6]
        for part in ("GetSize", "GetOrigin", "GetDirection", "GetSpacing"):
            assert getattr(source, part)() == getattr(written, part)()


def test_a_real_series_is_the_same_volume_as_nifti(shared_data, tmp_path):
    folder = shared_data / "ct/chaos3/dicom"
    paths = sorted(folder.glob("*0[0-9],*.dcm"))
    reader = SimpleITK.ImageSeriesReader()
    names = set(map(str, paths))
    reader.SetFileNames([n for n in reader.GetGDCMSeriesFileNames(str(folder)) if n in names])
    SimpleITK.WriteImage(reader.Execute(), tmp_path / "scan.nii.gz")
    wanted, read = to_volume(read_series(paths)), read_nifti(tmp_path / "scan.nii.gz").volume
    np.testing.assert_array_equal(read.hu, wanted.hu)
    np.testing.assert_allclose(read.geometry.affine, wanted.geometry.affine, atol=1e-3)


def test_scaled_values_are_hounsfield_units(hu, tmp_path):
    stored = (hu[..., None] + 1024).astype(np.uint16)  # one volume of four dimensions
    file = save(tmp_path / "a.nii", stored, ras_affine(), scl_slope=1, scl_inter=-1024)
    np.testing.assert_array_equal(read_nifti(file).volume.hu, hu[::-1, ::-1].transpose(2, 1, 0))


def test_what_is_no_number_is_air_and_extremes_are_bounded(hu, tmp_path):
    values = hu.astype(np.float32)
    values[0, 0, 0], values[1, 0, 0] = np.nan, 1e9
    read = read_nifti(save(tmp_path / "a.nii", values, ras_affine())).volume.hu
    assert (read[0, -1, -1], read[0, -1, -2]) == (-1024, 3071)


def test_metres_and_the_qform_alone_are_understood(hu, tmp_path):
    affine = ras_affine()
    affine[:3] /= 1000
    file = save(tmp_path / "a.nii", hu, affine, sform_code=0, xyzt_units=1)
    np.testing.assert_allclose(read_nifti(file).volume.geometry.spacing, (2.5, 0.9, 0.8), rtol=1e-5)


def test_the_second_version_is_read_and_written(hu, tmp_path):
    nibabel.save(nibabel.Nifti2Image(hu, ras_affine()), tmp_path / "a.nii")
    scan = read_nifti(tmp_path / "a.nii")
    made = write_labels(
        LabelMap(np.zeros_like(scan.volume.hu, np.uint8), scan.volume.geometry), scan
    )
    assert int.from_bytes(gzip.decompress(made)[:4], "little") == 540


def test_nothing_of_the_description_is_passed_on(hu, tmp_path):
    scan = read_nifti(save(tmp_path / "a.nii", hu, ras_affine(), descrip=b"Doe^Jane"))
    made = write_labels(
        LabelMap(np.zeros_like(scan.volume.hu, np.uint8), scan.volume.geometry), scan
    )
    assert b"Doe" not in gzip.decompress(made)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"sform_code": 0, "qform_code": 0}, "left and right are unknown"),
        ({"srow_x": [0.8, 0, 0, 0]}, "the sform's axes run to RAS, the qform's to LAS"),
        ({"srow_x": [np.nan, 0, 0, 0], "qform_code": 0}, "orientation is wrong"),
        ({"srow_z": [0, 0, 0, 0], "qform_code": 0}, "orientation is wrong"),
    ],
)
def test_a_file_that_does_not_state_where_left_is_is_refused(hu, tmp_path, header, reason):
    file = save(tmp_path / "a.nii", *turned(hu, ras_affine(), "LAS"), **header)
    with pytest.raises(UnsupportedSeries, match=reason):
        read_nifti(file)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((8, 7, 1), "two are the least"),
        ((8, 7), "not that of one volume"),
        ((8, 7, 5, 3), "not that of one volume"),
    ],
)
def test_what_is_no_volume_is_refused(tmp_path, shape, reason):
    with pytest.raises(UnsupportedSeries, match=reason):
        read_nifti(save(tmp_path / "a.nii", np.zeros(shape, np.int16), ras_affine()))


def test_a_coronal_scan_is_refused(hu, tmp_path):
    affine = np.diag([0.8, 5.0, 0.8, 1.0])
    with pytest.raises(UnsupportedSeries, match=r"axial pixels are 5 x 0.8 mm"):
        read_nifti(save(tmp_path / "a.nii", hu, affine))


def test_colours_are_refused(tmp_path):
    rgb = np.zeros((8, 7, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(UnsupportedSeries, match="not numbers"):
        read_nifti(save(tmp_path / "a.nii", rgb, ras_affine()))


def test_a_header_that_announces_gigabytes_is_refused_before_they_are_allocated(tmp_path):
    file = save(tmp_path / "a.nii", np.zeros((8, 7, 5), np.int16), ras_affine())
    content = bytearray(file.read_bytes())
    content[42:48] = np.array([4096, 4096, 30000], "<i2").tobytes()  # dim[1] to dim[3]
    file.write_bytes(content)
    with pytest.raises(UnsupportedSeries, match="are allocated"):
        read_nifti(file)


def test_a_file_that_inflates_far_beyond_its_volume_is_refused(hu, tmp_path):
    plain = save(tmp_path / "a.nii", hu, ras_affine()).read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(plain + bytes(4 << 20)))
    with pytest.raises(UnsupportedSeries, match="and should hold"):
        read_nifti(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_every_cut_and_every_wrong_byte_is_noticed(hu, tmp_path, suffix):
    file = save(tmp_path / f"a{suffix}", hu, ras_affine())
    content = file.read_bytes()
    for kept in (0, 3, 100, 347, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:kept])
        with pytest.raises(UnsupportedSeries):
            read_nifti(file)
    if suffix == ".nii.gz":
        file.write_bytes(content[:-6] + bytes([content[-6] ^ 1]) + content[-5:])
        with pytest.raises(UnsupportedSeries, match="export it again"):
            read_nifti(file)


def test_names():
    assert [is_nifti(path) for path in map(Path, ("a.nii", "A.NII.GZ", "a.gz", "a.dcm"))] == [
        *(True, True, False, False)
    ]
    assert [stem_of(Path(each)) for each in ("a.b.nii.gz", "a.NII")] == ["a.b", "a"]
