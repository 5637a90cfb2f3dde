"""`make cluster` in its short form: proxy, two gateways, one worker, a SEG in Orthanc."""

import json

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from sqlalchemy import create_engine, text

from deploy.cluster.cluster import ClusterPorts, running_cluster
from deploy.cluster.proxy import MODULE
from deploy.stack.errors import Missing
from deploy.stack.ohif import find_ohif
from deploy.stack.places import missing_packages
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.store import connectable
from tests.engine.toy_model import write_toy_model
from tests.system.postgres import needs_postgres
from tests.system.segmented import fetch
from tests.system.small_series import series
from tests.waiting import wait_until

pytestmark = needs_postgres


@pytest.fixture
def cluster(tmp_path):
    if missing := missing_packages() + ([] if MODULE.exists() else ["libnginx-mod-stream"]):
        pytest.skip(f"needs Debian's {', '.join(missing)}")
    try:
        find_ohif()
    except Missing as error:
        pytest.skip(str(error))
    model = write_toy_model(tmp_path / "toy")
    ports = ClusterPorts.free()
    with running_cluster(tmp_path / "cluster", ports, model=model, workers=1) as cluster:
        yield cluster
    assert not any(process.running for process in cluster.processes)


def test_a_series_that_is_sent_to_the_proxy_over_two_gateways_is_a_seg_in_orthanc(
    cluster, tmp_path
):
    sent = series(tmp_path / "ct")
    proxy = StorePeer("proxy", "HEPAR", "127.0.0.1", cluster.ports.node_dicom)
    context = CTImageStorage, ExplicitVRLittleEndian
    with proxy.associated([context]) as one, proxy.associated([context]) as two:
        for number, path in enumerate(sent):
            association = two if number % 2 else one
            assert association.send_c_store(path).Status == 0x0000
    archive = f"http://127.0.0.1:{cluster.ports.archive_http}/series?expand"

    def segs():
        found = json.loads(fetch(archive))
        return [each for each in found if each["MainDicomTags"].get("Modality") == "SEG"]

    wait_until(segs, what="the SEG in Orthanc")
    # And none as the owner of the tables.
    assert roles_of(cluster) == {"hepar_gateway", "hepar_worker", "hepar_page"}
    page = f"http://127.0.0.1:{cluster.ports.node_http}/"
    shown = fetch(page).decode()
    assert shown.count("receive-") == 2
    for log in ("receive-1", "receive-2"):  # the proxy gave each of them one association
        text = (cluster.configuration.parent / f"{log}.log").read_text()
        assert "action=queue" in text or "another gateway receives more" in text


def roles_of(cluster):
    """Return the roles in PostgreSQL of which processes are connected."""
    query = (
        "SELECT usename FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    # As the owner, who alone sees the kinds of others' connections.
    engine = create_engine(connectable(cluster.database.replace("hepar_worker@", "hepar@")))
    with engine.connect() as store:
        found = set(store.scalars(text(query)))
    engine.dispose()
    return found
