"""Series Numbers that the processes of a cluster share."""

from concurrent.futures import ThreadPoolExecutor

from pydicom.uid import generate_uid

from dicom_node.fetched.number_table import NumberTable


def test_a_series_has_one_number_and_no_other_series_of_its_study_has_it(engine):
    study, (one, two) = generate_uid(), (NumberTable(engine, "c"), NumberTable(engine, "c"))
    assert one.take(study, "1.1", [5, 6]) == 5
    assert two.take(study, "1.2", [5, 6]) == 6
    assert two.take(study, "1.1", [7]) == 5
    assert two.take(study, "1.3", [5, 6]) == 5  # none is free: the first
    assert one.take(generate_uid(), "1.9", [5]) == 5
    assert NumberTable(engine, "other").take(study, "1.8", [5]) == 5


def test_processes_that_ask_at_once_are_answered_one_by_one(engine):
    study, table = generate_uid(), NumberTable(engine, "c")
    with ThreadPoolExecutor(4) as pool:
        taken = pool.map(lambda n: table.take(study, f"1.{n}", range(100)), range(12))
    assert sorted(taken) == list(range(12))


def test_numbers_of_a_study_are_forgotten(engine):
    study, table = generate_uid(), NumberTable(engine, "c")
    table.take(study, "1.1", [5])
    table.forget([study])
    assert table.take(study, "1.2", [5]) == 5
