"""`hepar web`: the page of a cluster."""

from typing import Annotated

import typer

from dicom_node.commands.arguments.options import Config, Model, settings

Port = Annotated[
    int | None, typer.Option("--port", help="Port of the page; default: http.port, or 8080.")
]

DEFAULT_PORT = 8080
"""Port where the configuration names none: without one there is nothing to serve."""


def web(config: Config = None, model: Model = None, port: Port = None) -> None:
    """Serve the page, the metrics, the health checks and the alerts of a cluster.

    It shares one data folder (`node.data`) and one PostgreSQL (`jobs.database`) with the gateways
    (`hepar receive`) and the workers (`hepar work`); with `cluster.files = "fetched"` the
    PostgreSQL alone. SIGINT or SIGTERM ends it.
    """
    # Imported here: the store and the web server take a second, and `--help` needs neither.
    from dicom_node.commands.roles.running import run_role
    from dicom_node.node.roles import page

    chosen = settings(config, model)
    if port is not None or chosen.http.port is None:
        chosen = settings(config, model, http={"port": DEFAULT_PORT if port is None else port})
    run_role("web", chosen, page)
