"""The module `orthanc` as the plugin sees it: an archive of dictionaries, and a node to send to."""

import json
from types import ModuleType, SimpleNamespace


class FakeOrthanc(ModuleType):
    """Keeps series; a C-STORE is a line in `sent`, or fails while `away` is true."""

    class OrthancException(Exception):
        """Exception that Orthanc raises for every error."""

    ChangeType = SimpleNamespace(ORTHANC_STARTED=1, ORTHANC_STOPPED=2, STABLE_SERIES=3)

    def __init__(self, **hepar):
        super().__init__("orthanc")
        self.configuration = {
            "DicomModalities": {"hepar": ["HEPAR", "127.0.0.1", 11112]},
            "Hepar": hepar,
        }
        self.series, self.notes, self.properties = {}, {}, {}
        self.copies, self.instances, self.orders = set(), set(), []
        self.sent, self.log, self.routes = [], [], {}
        self.away = False
        self.on_change = self.script = None

    def add(self, name, instances, *, modality="CT", description="abdomen", study="study"):
        """Keep a series of so many instances."""
        self.series[name] = {
            "study": study,
            "Instances": [f"{name}-{index}" for index in range(instances)],
            "tags": {
                "Modality": modality,
                "SeriesDescription": description,
                "SeriesInstanceUID": f"1.2.{len(self.series) + 1}",
                "Sequence": [{"not": "plain"}],
            },
        }

    def RestApiGet(self, path):  # noqa: N802
        match path.strip("/").split("/"):
            case ["series", name] if name in self.series:
                series = self.series[name]
                answer = {"Instances": series["Instances"], "ParentStudy": series["study"]}
            case ["instances", name, "simplified-tags"]:
                answer = self.series[name.rsplit("-", 1)[0]]["tags"]
            case ["series" | "studies", name, "metadata", "AnonymizedFrom" | "ModifiedFrom" as key]:
                if (name, key) not in self.copies:
                    raise self.OrthancException("Unknown resource")
                return b"original"
            case ["series", name, "metadata", _] if name in self.notes:
                return self.notes[name]
            case ["studies", study] if study in {each["study"] for each in self.series.values()}:
                series = [name for name, each in self.series.items() if each["study"] == study]
                answer = {"Series": series, "MainDicomTags": {"StudyInstanceUID": "1.1"}}
            case _:
                raise self.OrthancException("Unknown resource")
        return json.dumps(answer).encode()

    def RestApiPut(self, path, body):  # noqa: N802
        self.notes[path.split("/")[2]] = body

    def RestApiPost(self, path, body):  # noqa: N802
        if path == "/tools/lookup":
            found = [{"Type": "Instance", "ID": "x"}] if body.decode() in self.instances else []
            return json.dumps(found).encode()
        if self.away:
            raise self.OrthancException("Network protocol error")
        self.orders.append(json.loads(body))
        self.sent.append((path, *self.orders[-1]["Resources"]))
        return b"{}"

    def GetConfiguration(self):  # noqa: N802
        return json.dumps(self.configuration)

    def GetGlobalProperty(self, number, default):  # noqa: N802
        return self.properties.get(number, default)

    def SetGlobalProperty(self, number, value):  # noqa: N802
        self.properties[number] = value

    def LogWarning(self, line):  # noqa: N802
        self.log.append(line)

    def RegisterOnChangeCallback(self, callback):  # noqa: N802
        self.on_change = callback

    def RegisterRestCallback(self, path, callback):  # noqa: N802
        self.routes[path] = callback

    def ExtendOrthancExplorer(self, script):  # noqa: N802
        self.script = script


class Output:
    """Recorder of a route's answer."""

    said = status = None

    def AnswerBuffer(self, body, kind):  # noqa: N802
        assert kind == "application/json"
        self.status, self.said = 200, json.loads(body)

    def SendHttpStatusCode(self, status):  # noqa: N802
        self.status = status

    def SendMethodNotAllowed(self, allowed):  # noqa: N802
        self.status, self.said = 405, allowed
