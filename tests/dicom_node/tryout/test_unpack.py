"""Zips are unpacked within bounds; what could do harm is refused with the place and a remedy."""

import struct
import zipfile
import zlib

import pytest

from dicom_node.errors import BadUpload, NoRoomForUpload, TooLargeUpload
from dicom_node.tryout.bounds import MB, Bounds, Tally
from dicom_node.tryout.unpack import unpack

CONTENT = b"slice" * 1000
ONE_MB = Bounds(MB, 0)


@pytest.fixture
def pack(tmp_path):
    """Write a zip of (name or ZipInfo, content) pairs."""

    def write(*entries, method=zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "packed", "w", method) as packed:
            for entry, content in entries:
                packed.writestr(entry, content)
        return tmp_path / "packed"

    return write


@pytest.fixture
def unpacked(tmp_path):
    """Unpack a zip and return the contents of the files that came of it."""

    def run(file, bounds=ONE_MB):
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        unpack(file, folder, Tally(bounds, folder))
        return [each.read_bytes() for each in sorted(folder.iterdir())]

    return run


def linked(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry


def patched(file, old, new):
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))
    return file


def test_files_are_unpacked_in_order_and_folders_are_not(pack, unpacked):
    assert unpacked(pack(("a/", b""), ("a/1.dcm", b"one"), ("b", CONTENT))) == [b"one", CONTENT]


def test_the_names_in_a_zip_are_not_used(pack, unpacked, tmp_path):
    unpacked(pack(("Doe^Jane/IM1", b"one")))
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["packed-00001"]


def _named(name):
    entry = zipfile.ZipInfo("x")
    entry.filename = name  # the constructor would tidy it
    return entry


def test_an_entry_that_is_named_like_its_folder_is_unpacked_as_any_other(pack, unpacked, tmp_path):
    unpacked(pack((_named("."), b"one")))
    assert [each.read_bytes() for each in (tmp_path / "out").iterdir()] == [b"one"]


def test_an_entry_without_a_name_is_damage(pack, unpacked):
    with pytest.raises(BadUpload, match=r"the zip is damaged .* pack it again"):
        unpacked(pack((_named(""), b"one")))


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "\\\\host\\evil"]
)
def test_a_path_that_leads_out_is_refused_and_nothing_is_written(pack, unpacked, tmp_path, name):
    entry = _named(name)
    with pytest.raises(BadUpload, match="path of file 2 in the zip leads out"):
        unpacked(pack(("fine", b"one"), (entry, b"two")))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_is_refused(pack, unpacked):
    with pytest.raises(BadUpload, match="file 1 in the zip is a link"):
        unpacked(pack((linked("x"), b"/etc/passwd")))


def test_a_bomb_ends_at_the_bound(pack, unpacked, tmp_path):
    bomb = pack(("x", bytes(64 * MB)))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(TooLargeUpload, match=r"more than 2 MB.*http\.try_mb"):
        unpacked(bomb, Bounds(2 * MB, 0))
    assert sum(each.stat().st_size for each in (tmp_path / "out").iterdir()) <= 2 * MB


def test_a_size_that_a_zip_understates_changes_nothing(pack, unpacked):
    bomb = pack(("x", bytes(8 * MB)))
    patched(bomb, struct.pack("<L", 8 * MB), struct.pack("<L", 10))
    with pytest.raises(BadUpload):
        unpacked(bomb, Bounds(2 * MB, 0))


def test_many_entries_are_refused_before_they_are_read(pack, unpacked, monkeypatch):
    many = pack(*((str(number), b"") for number in range(30)))
    monkeypatch.setattr("dicom_node.tryout.unpack.MOST_FILES", 20)
    with pytest.raises(TooLargeUpload, match="30 files"):
        unpacked(many)
    monkeypatch.setattr("dicom_node.tryout.unpack.MOST_DIRECTORY", 500)
    with pytest.raises(TooLargeUpload, match="more than 20 files"):
        unpacked(many)


def test_no_more_is_unpacked_than_the_disk_has_room_for(pack, unpacked):
    with pytest.raises(NoRoomForUpload, match=r"receive\.keep_free_mb"):
        unpacked(pack(("x", CONTENT)), Bounds(MB, 1 << 60))


def test_a_password_is_named(pack, unpacked):
    file = pack(("x", CONTENT), method=zipfile.ZIP_STORED)
    patched(file, b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")
    with pytest.raises(BadUpload, match="password"):
        unpacked(file)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_inflates_without_a_bound_is_refused(pack, unpacked, method):
    with pytest.raises(BadUpload, match=f"method {method}.*deflate"):
        unpacked(pack(("x", CONTENT), method=method))


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.99])
def test_a_zip_that_breaks_off_is_named(pack, unpacked, cut):
    file = pack(("Doe^Jane", zlib.compress(CONTENT)), ("b", CONTENT))
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * cut)])
    with pytest.raises(BadUpload, match=r"zip (breaks off|is damaged).*pack it again") as caught:
        unpacked(file)
    assert "Doe" not in str(caught.value)


def test_damage_within_a_file_is_named_without_its_name(pack, unpacked):
    file = pack(("Doe^Jane", CONTENT), method=zipfile.ZIP_STORED)
    patched(file, b"slicesliceslice", b"slicesl!ceslice")
    with pytest.raises(BadUpload, match="damaged") as caught:
        unpacked(file)
    assert "Doe" not in str(caught.value)
