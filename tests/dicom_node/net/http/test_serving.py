"""An application is served while the block lasts, and no longer."""

import pytest
import requests
from starlette.applications import Starlette

from dicom_node.errors import AlreadyRunning
from dicom_node.net.http.serving import serving

LOOPBACK = "127.0.0.1", 0


def test_an_application_is_served_until_the_block_ends():
    with serving(Starlette(), LOOPBACK, "http") as (host, port):
        assert requests.get(f"http://{host}:{port}/", timeout=5).status_code == 404
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{host}:{port}/", timeout=5)


def test_a_port_that_is_taken_is_named_with_the_key_to_change():
    with (
        serving(Starlette(), LOOPBACK, "http") as taken,
        pytest.raises(AlreadyRunning, match=r"set cluster\.port to a free one"),
        serving(Starlette(), taken, "cluster"),
    ):
        pass
