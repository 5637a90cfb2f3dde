"""`hepar work`: a worker of a cluster."""

from dicom_node.commands.arguments.options import Config, Model, settings


def work(config: Config = None, model: Model = None) -> None:
    """Run a worker: segment the series that gateways have queued, and deliver the results.

    Run one for each GPU or processor socket. They share one data folder (`node.data`) and one
    PostgreSQL (`jobs.database`) with the gateways (`hepar receive`); with `cluster.files =
    "fetched"` the PostgreSQL alone. SIGINT or SIGTERM ends it; what it had under way goes on when
    it starts again.
    """
    # Imported here: highdicom and the device take a second, and `--help` needs neither.
    from dicom_node.commands.roles.running import run_role
    from dicom_node.node.roles import worker

    run_role("work", settings(config, model), worker)
