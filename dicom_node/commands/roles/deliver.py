"""`hepar deliver`: deliveries of a cluster, apart from its workers."""

from dicom_node.commands.arguments.options import Config, settings


def deliver(config: Config = None) -> None:
    """Run deliveries of a cluster: send results to the peers, and ask whether they are kept.

    Workers do so themselves unless `cluster.deliver_apart` is true, as where they do not reach the
    archive. It shares one data folder (`node.data`) and one PostgreSQL (`jobs.database`) with the
    other roles; with `cluster.files = "fetched"` the PostgreSQL alone. It needs neither a device
    nor the model. SIGINT or SIGTERM ends it; what it had under way goes on when it starts again.
    """
    # Imported here: it takes a second, and `--help` does not need it.
    from dicom_node.commands.roles.running import run_role
    from dicom_node.node.roles import deliverer

    run_role("deliver", settings(config), deliverer)
