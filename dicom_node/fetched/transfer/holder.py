"""A gateway that holds files, as the other processes of its cluster call it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import requests

from dicom_node.cluster.fenced_worker import taken_over
from dicom_node.deliver.web_session import WebSession, status_phrase
from dicom_node.errors import GatewayAway, NotHeld, PeerRefused, PeerUnavailable
from dicom_node.fetched.transfer.digest import digest_of, to_header
from dicom_node.fetched.transfer.download import download
from dicom_node.fetched.transfer.held_files import HeldFile
from dicom_node.receive.header import SeriesKey


@dataclass(frozen=True)
class Holder:
    """Calls to one gateway.

    Each raises GatewayAway where there is no answer, or the token is refused, and NotHeld where the
    gateway has no such file.
    """

    name: str
    web: WebSession

    def instances(self, series: SeriesKey) -> list[HeldFile]:
        """Return the instances of a series that it holds; there may be none."""
        return self._list(_path("series", series.study_uid, series.series_uid))

    def results(self, job: str) -> list[HeldFile]:
        """Return the files of a job's result that it holds; there may be none."""
        return self._list(_path("results", job))

    def fetch_instances(
        self, series: SeriesKey, files: Mapping[str, Path], *, durably: bool = False
    ) -> None:
        """Fetch instances, by their names, to where they are to lie."""
        path = _path("series", series.study_uid, series.series_uid)
        self._fetch(path, files, durably=durably)

    def fetch_results(self, job: str, files: Mapping[str, Path]) -> None:
        """Fetch files of a job's result, by their names, to where they are to lie."""
        self._fetch(_path("results", job), files, durably=False)

    def put_result(self, job: str, file: Path, executor: str) -> None:
        """Let the gateway keep a file of a job's result.

        Args:
            job: its name.
            file: of the result.
            executor: `Member.executor` of this process, which works on the job.

        Raises:
            TakenOver: another process has the job; the gateway has kept nothing.
        """
        url = f"{self.web.root}{_path('results', job, file.name)}"
        headers = {"Content-Digest": to_header(digest_of(file))}
        with self._called() as session, file.open("rb") as body:
            answer = session.put(
                url,
                data=body,
                params={"executor": executor},
                headers=headers,
                timeout=self.web.timeout,
            )
        if answer.status_code == HTTPStatus.CONFLICT:
            raise taken_over(job, "its gateway has it as another process's")
        self._require_ok(answer)

    def _list(self, path: str) -> list[HeldFile]:
        with self._called() as session:
            headers = {"Accept": "application/json"}
            answer = session.get(self.web.root + path, headers=headers, timeout=self.web.timeout)
        self._require_ok(answer)
        try:
            return [HeldFile(**each) for each in answer.json()]
        except (requests.JSONDecodeError, TypeError) as error:
            raise GatewayAway(
                f"{self.name}: {self.web.url} gave another answer than a gateway of this release;"
                " check cluster.address"
            ) from error

    def _fetch(self, path: str, files: Mapping[str, Path], *, durably: bool) -> None:
        with self._called() as session:  # one connection for all
            for name, target in files.items():
                url = f"{self.web.root}{path}/{quote(name)}"
                answer = download(session, url, target, self.web.timeout, durably=durably)
                if answer.status_code != HTTPStatus.NOT_MODIFIED:
                    self._require_ok(answer)

    @contextmanager
    def _called(self) -> Iterator[requests.Session]:
        try:
            with self.web.translated_errors(), self.web.open() as session:
                yield session
        except GatewayAway:
            raise
        except (PeerUnavailable, PeerRefused) as error:
            raise GatewayAway(str(error)) from error

    def _require_ok(self, answer: requests.Response) -> None:
        if answer.ok:
            return
        where = f"{self.name}: {self.web.url}"
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise NotHeld(f"{where} no longer holds the file")
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise GatewayAway(
                f"{where} refuses the token; set the same HEPAR_CLUSTER__TOKEN on every machine"
            )
        raise GatewayAway(f"{where} answered {status_phrase(answer.status_code)}")


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)
