"""Start of one role of a cluster: join the others on one folder and one PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

from sqlalchemy import Engine, make_url

from dicom_node.cluster.membership import Member, Membership, beating
from dicom_node.cluster.own_folder import own_place, require_own_name
from dicom_node.cluster.shared_folder import (
    Claim,
    claimed_place,
    require_same_folder,
    require_shareable,
)
from dicom_node.cluster.tables import shared_tables
from dicom_node.config.cluster_section import Files
from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.errors import BadConfiguration


@dataclass(frozen=True)
class Joined:
    """A process that has joined a cluster in one role."""

    settings: Settings
    claim: Claim
    member: Member
    engine: Engine
    """Connections to the tables that the cluster shares."""

    @property
    def is_apart(self) -> bool:
        """Whether the data folder is this process's own, and files are fetched."""
        return self.settings.cluster.files is Files.FETCHED

    @property
    def data(self) -> DataFolder:
        """The folder that the cluster shares, or that is this process's own."""
        return self.claim.data

    @property
    def membership(self) -> Membership:
        """The processes of the cluster."""
        return Membership(self.engine, self.member.folder)


@contextmanager
def joined(settings: Settings, role: str) -> Iterator[Joined]:
    """Join the cluster while the block lasts.

    Raises:
        BadConfiguration: there is no PostgreSQL, or the folder cannot be shared.
        AlreadyRunning: `hepar serve` works in the folder.
        StoreUnusable: the PostgreSQL is away.
    """
    require_postgres(settings, role)
    data = DataFolder(settings.node.data)
    apart = settings.cluster.files is Files.FETCHED
    place = own_place(data, role, settings.cluster.name) if apart else claimed_place(data, role)
    with place as claim, shared_tables(settings.database_url) as engine:
        member = Member(claim.folder, claim.name, role, version("hepar"), claim.token)
        membership = Membership(engine, claim.folder)
        # Before the first heartbeat: a process on another folder must not be believed.
        if apart:
            require_own_name(membership, member)
        else:
            require_shareable(data.members)
            require_same_folder(data, membership, member)
        with beating(membership, member):
            yield Joined(settings, claim, member, engine)


def require_postgres(settings: Settings, role: str) -> None:
    """Return if several processes can share the job store.

    Raises:
        BadConfiguration: it is an SQLite file.
    """
    if make_url(settings.database_url).get_backend_name() != "postgresql":
        raise BadConfiguration(
            f"`hepar {role}` shares its jobs with other processes, and the job store is an SQLite"
            " file; set HEPAR_JOBS__DATABASE to a postgresql:// address, or run `hepar serve`,"
            " which is all roles in one process"
        )
