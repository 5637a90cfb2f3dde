"""`python -m deploy.cluster`: run a cluster on this machine until Ctrl-C."""

import argparse
import sys
from pathlib import Path

from deploy.cluster.cluster import WORKERS, Cluster, ClusterPorts, member, running_cluster
from deploy.stack.ending import is_told, signals
from deploy.stack.errors import StackError
from deploy.stack.example import fill
from deploy.stack.links import Links
from deploy.stack.settings import ARCHIVE


def main() -> int:
    """Run the cluster; the exit status is 1 if it could not, or if a part of it ended."""
    options = _options()
    told = signals()
    ports = ClusterPorts.free() if options.free_ports else ClusterPorts.usual()
    model, workers = options.model, options.workers
    is_first_start = not (options.folder / ARCHIVE).exists()
    try:
        with running_cluster(options.folder, ports, model=model, workers=workers) as cluster:
            print(welcome(cluster), flush=True)
            logs = [Links(each) for each in cluster.worker_logs]
            gone: set[str] = set()
            if is_first_start:
                fill(ports.archive_http)
            while not is_told(told):
                for link in (link for log in logs for link in log.fresh()):
                    print(f"Segmented: {link}", flush=True)
                # It goes on without: that is what a cluster is for.
                for part in cluster.processes:
                    if not part.running and part.name not in gone:
                        gone.add(part.name)
                        print(f"{part.name} ended:\n{part.tail()}", file=sys.stderr, flush=True)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.cluster", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("cluster"), help="what it keeps")
    parser.add_argument("--model", type=Path, help="model folder; without it Hepar's own")
    parser.add_argument("--workers", type=int, default=WORKERS, help="number of workers")
    parser.add_argument("--free-ports", action="store_true", help="take any free ports")
    return parser.parse_args()


def welcome(cluster: Cluster) -> str:
    """Return the addresses, and how to send a series and drain a process."""
    ports, at = cluster.ports, cluster.viewer
    hepar = f"{Path(sys.executable).parent}/hepar"
    file = cluster.configuration
    processes = "  ".join(f"{member(each)} {each.pid}" for each in cluster.processes)
    return f"""
Ready after {cluster.seconds:.1f} s.

  C-STORE   ORTHANC at 127.0.0.1:{ports.archive_dicom}
            It keeps the study, without which the viewer shows none, and passes it on to the proxy
            {hepar} send FOLDER ORTHANC@127.0.0.1:{ports.archive_dicom}
            the proxy before the gateways itself: HEPAR at 127.0.0.1:{ports.node_dicom}
  Hepar     http://localhost:{ports.node_http}/
            jobs and processes. Its buttons need a login: start with
            HEPAR_HTTP__TOKEN=secret make cluster, and log in with that password
  OHIF      {at}/
  Orthanc   {at}/orthanc/app/explorer.html
  Drain     HEPAR_JOBS__DATABASE={cluster.database} \\
            {hepar} drain --config {file}

Process ids, to kill one: {processes}
Studies, results and logs are kept in {file.parent}. Ctrl-C stops all of it."""


if __name__ == "__main__":
    sys.exit(main())
