"""Results of a patient who does not exist."""

from pydicom import dcmread

from dicom_node.commands.synthetic.synthetic_objects import write_objects
from dicom_node.results.objects import SEG, ObjectKind, ResultObject


def test_the_objects_asked_for_are_of_one_new_study(tmp_path):
    items = SEG, ResultObject(ObjectKind.MONTAGE)
    first, second = (write_objects(tmp_path / name, items) for name in "ab")
    assert first.keys() == second.keys() == {*items}
    studies = [
        {dcmread(file).StudyInstanceUID for file in each.values()} for each in (first, second)
    ]
    assert [len(each) for each in studies] == [1, 1]
    assert studies[0] != studies[1]
