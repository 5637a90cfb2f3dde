"""`hepar receive`: a gateway of a cluster."""

from typing import Annotated

import typer

from dicom_node.commands.arguments.options import Config, Model, settings

Port = Annotated[
    int | None, typer.Option("--port", help="DICOM port; default: node.port of the configuration.")
]
HttpPort = Annotated[
    int | None,
    typer.Option("--http-port", help="Port of STOW-RS and the health checks; default: http.port."),
]


def receive(
    config: Config = None, model: Model = None, port: Port = None, http_port: HttpPort = None
) -> None:
    """Run a gateway: receive series by C-STORE and STOW-RS, and queue them for the workers.

    Several share one data folder (`node.data`) and one PostgreSQL (`jobs.database`) with the
    workers (`hepar work`) and the page (`hepar web`). SIGINT or SIGTERM ends it.
    """
    # Imported here: pynetdicom and the store take a second, and `--help` needs neither.
    from dicom_node.commands.roles.running import run_role
    from dicom_node.node.roles import gateway

    sections = {}
    if port is not None:
        sections["node"] = {"port": port}
    if http_port is not None:
        sections["http"] = {"port": http_port}
    run_role("receive", settings(config, model, **sections), gateway)
