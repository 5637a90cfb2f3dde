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
    workers (`hepar work`) and the page (`hepar web`); with `cluster.files = "fetched"` the
    PostgreSQL alone. With `receive.processes` it runs so many of them on one port, and starts
    again one that dies. SIGINT or SIGTERM ends all.
    """
    sections = {}
    if port is not None:
        sections["node"] = {"port": port}
    if http_port is not None:
        sections["http"] = {"port": http_port}
    chosen = settings(config, model, **sections)
    # Imported here: pynetdicom and the store take a second, and `--help` needs neither.
    if chosen.receive.processes > 1:
        from dicom_node.commands.roles.processes import run_processes

        raise typer.Exit(run_processes(chosen))
    from dicom_node.commands.roles.running import run_role
    from dicom_node.node.roles import gateway

    run_role("receive", chosen, gateway)
