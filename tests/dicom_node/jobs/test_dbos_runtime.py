from dicom_node.jobs.dbos_runtime import job_id


def test_the_order_of_arrival_makes_no_other_job():
    assert job_id("1", ["2", "3"], "m") == job_id("1", ["3", "2"], "m")


def test_one_instance_more_another_model_or_series_makes_another_job():
    ids = {
        job_id("1", ["2", "3"], "m"),
        job_id("1", ["2", "3", "4"], "m"),
        job_id("1", ["2", "3"], "n"),
        job_id("9", ["2", "3"], "m"),
    }
    assert len(ids) == 4
