"""CT slices in every transfer syntax that is decoded, made by codecs of other people."""

import shutil
import subprocess

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

ENCODED_HERE = {
    JPEG2000Lossless: {},
    JPEG2000: {"j2k_cr": [4]},
    JPEGLSLossless: {},
    JPEGLSNearLossless: {"jls_error": 2},
    RLELossless: {},
}
DCMTK = {
    JPEGBaseline8Bit: "+eb",
    JPEGExtended12Bit: "+ee",
    JPEGLossless: "+el",
    JPEGLosslessSV1: "+e1",
}
SYNTAXES = [*ENCODED_HERE, *DCMTK, HTJ2KLossless]


def plain_slice(make_ct_series, rows=96, columns=80, bits=12, samples=None):
    """Return an uncompressed slice of noise on a ramp."""
    (instance,) = make_ct_series(slices=1, rows=rows, columns=columns)
    noise = np.random.default_rng(7).integers(0, 2 ** (bits - 2), (rows, columns))
    ramp = np.linspace(0, 2 ** (bits - 1), columns, dtype=int)
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, bits, bits - 1
    if bits == 8:
        instance.BitsAllocated = 8
    instance.PixelRepresentation = 0
    instance.PixelData = (noise + ramp).astype(f"u{instance.BitsAllocated // 8}").tobytes()
    instance["PixelData"].VR = "OB" if bits == 8 else "OW"
    return instance


def compressed_slice(make_ct_series, syntax, folder):
    """Return a slice in a transfer syntax."""
    instance = plain_slice(make_ct_series, bits=8 if syntax == JPEGBaseline8Bit else 12)
    if syntax == HTJ2KLossless:
        # No encoder is at hand; the container is the same, and OpenJPEG decodes either.
        instance.compress(JPEG2000Lossless, generate_instance_uid=False)
        instance.file_meta.TransferSyntaxUID = HTJ2KLossless
        return instance
    if syntax in ENCODED_HERE:
        instance.compress(syntax, generate_instance_uid=False, **ENCODED_HERE[syntax])
        return instance
    tool = shutil.which("dcmcjpeg", path="/usr/bin:/usr/local/bin")
    if tool is None:
        pytest.skip("no dcmcjpeg: install dcmtk")
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    instance.save_as(folder / "plain.dcm", enforce_file_format=True)
    subprocess.run([tool, DCMTK[syntax], folder / "plain.dcm", folder / "made.dcm"], check=True)
    made = dcmread(folder / "made.dcm")
    assert made.file_meta.TransferSyntaxUID == syntax
    return made
