"""Which processes may share a port; that they do is in `tests/system/test_receivers.py`."""

import socket

import pytest

from dicom_node.commands.roles import processes
from dicom_node.commands.roles.processes import require_port_sharing, reserved_port
from dicom_node.config.settings import Settings
from dicom_node.errors import AlreadyRunning, BadConfiguration
from dicom_node.node.startup import starting

TWO = {"processes": 2}


def test_where_a_port_cannot_be_shared_the_key_is_refused(monkeypatch):
    require_port_sharing(Settings(receive=TWO))
    monkeypatch.setattr(processes.sys, "platform", "darwin")
    with pytest.raises(BadConfiguration, match=r"receive\.processes is 2, and only Linux spreads"):
        require_port_sharing(Settings(receive=TWO))


def test_every_process_has_an_http_port_or_the_key_is_refused():
    require_port_sharing(Settings(receive=TWO, http={"port": 65534}))
    with pytest.raises(BadConfiguration, match=r"set http\.port to 65534 or less"):
        require_port_sharing(Settings(receive=TWO, http={"port": 65535}))


def test_a_node_is_one_process(tmp_path):
    settings = Settings(receive=TWO, node={"data": tmp_path / "data"})
    with pytest.raises(BadConfiguration, match="`hepar serve` is one process"), starting(settings):
        pass
    assert not (tmp_path / "data").exists()


def test_a_reserved_port_is_kept_for_those_that_share_it():
    with reserved_port("127.0.0.1", 0) as port:
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", port))
        with socket.socket() as sharing:
            sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sharing.bind(("127.0.0.1", port))
            sharing.listen()
            message = f"cannot listen on 127.0.0.1:{port}: Address already in use; set node.port"
            with pytest.raises(AlreadyRunning, match=message), reserved_port("127.0.0.1", port):
                pass
            socket.create_connection(("127.0.0.1", port)).close()
