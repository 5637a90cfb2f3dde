import pytest

from dicom_node.choice.kernel import Sharpness, sharpness

KERNELS = {
    Sharpness.SOFT: [
        *("B30f", "B31s", "Br40d\\3", "Bv36d", "I31f\\3", "J30s", "H31s", "Qr40", "Br49"),
        *("STANDARD", "Soft", "B", "A", "FC03", "FC08-H", "FC18"),
    ],
    Sharpness.SHARP: [
        *("B50f", "B60f", "B70s", "Br59d", "Bl57d\\3", "I70f", "H60s", "U90u"),
        *("LUNG", "BONE", "BONEPLUS", "EDGE", "FC30", "FC51", "FC86", "YC", "L", "HD LUNG"),
    ],
    Sharpness.UNKNOWN: ["", "xyz", "IMR1", "FCX", "ORGAN"],
}


@pytest.mark.parametrize(
    ("kernel", "kind"), [(kernel, kind) for kind, each in KERNELS.items() for kernel in each]
)
def test_a_kernel_is_soft_or_sharp_by_its_maker_s_names(kernel, kind):
    assert sharpness(kernel) is kind
