"""Real series as they may be sent, and the label map that the node should make of each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from engine.model import Model, default_model_folder, load_model
from tests.engine.toy_model import write_toy_model
from tests.system.database_roles import make_roles
from tests.system.postgres import Postgres
from tests.system.servers import missing_programs

Series = Callable[[str], list[Path]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here, and skip it with the reason where a program is missing."""
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    missing = missing_programs()
    for item in here:
        item.add_marker(pytest.mark.system)
        if missing:
            item.add_marker(pytest.mark.skip(f"needs Debian's {', '.join(missing)}"))


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for the tests of a module."""
    with Postgres() as postgres:
        yield postgres


@pytest.fixture(scope="module")
def databases(postgres: Postgres) -> dict[str, str]:
    """Addresses of that PostgreSQL for the roles of a cluster, each with rights of its own."""
    return make_roles(postgres)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The default model; before it has been trained, a toy that marks by thresholds."""
    if (default_model_folder() / "model.json").exists():
        return load_model(default_model_folder())
    return load_model(write_toy_model(tmp_path_factory.mktemp("models") / "toy"))


@pytest.fixture(scope="session")
def real_series(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Series:
    """Files of a real CT series by name; blank UIDs are filled in, in a copy."""
    filled: dict[str, list[Path]] = {}

    def series(name: str) -> list[Path]:
        if name == "totalseg20" and name not in filled:
            folder = tmp_path_factory.mktemp(name)
            filled[name] = fill_in_uids(shared_data / "ct" / name / "dicom", folder)
        return filled.get(name) or sorted((shared_data / "ct" / name).glob("**/*.dcm"))

    return series


def fill_in_uids(source: Path, target: Path) -> list[Path]:
    """Copy a series whose UIDs are blank, with UIDs of its own; the pixels stay compressed."""
    study, series = generate_uid(), generate_uid()
    copies = []
    for path in sorted(source.iterdir()):
        instance = dcmread(path)
        instance.SOPClassUID = instance.file_meta.MediaStorageSOPClassUID
        instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID
        instance.StudyInstanceUID, instance.SeriesInstanceUID = study, series
        instance.save_as(target / path.name)
        copies.append(target / path.name)
    return copies
