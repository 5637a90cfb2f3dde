"""The statement as a whole: its prose with the tables in their places."""

from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from string import Template

from dicom_node.config.receiver_sections import NodeSection
from dicom_node.conformance import intake, network, terms
from dicom_node.conformance.attributes import attribute_table, difference_table
from dicom_node.conformance.configuration import configuration_table
from dicom_node.conformance.content import content_table
from dicom_node.conformance.examples import Example, examples, notice_examples
from dicom_node.conformance.notes import NOTICE_NOTES, notes_on
from dicom_node.deliver.attempts import CREDENTIAL_TRIES, MAX_COPIES, SEARCH_S
from dicom_node.deliver.c_store_scu import SLOWEST_BYTES_PER_S
from dicom_node.deliver.storage_commitment import REPORT_S, SAME_ASSOCIATION_S
from dicom_node.deliver.web_session import TRY_LATER
from dicom_node.jobs.workflows import DELIVERIES_AT_ONCE
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.receive.scp import Limits, receiver
from dicom_node.results.attributes.codes import SCHEME
from dicom_node.results.objects import Encoding, ObjectKind
from dicom_node.retrieve.dimse import BRING_S

Made = Mapping[ObjectKind, list[list[Example]]]
"""Examples of each kind of object, in each of its encodings."""


def statement() -> str:
    """Return the conformance statement as Markdown."""
    prose = Template((files(__package__) / "statement.md").read_text("utf-8"))
    made = {kind: [examples(kind)] for kind in ObjectKind}
    made[ObjectKind.SEG].append(examples(ObjectKind.SEG, Encoding.LABELMAP))
    # Not safe_substitute: a name in the prose that nothing fills must fail.
    return prose.substitute(**_words(), **_network(made), **_objects(made))


def _words() -> dict[str, str]:
    entity, caller, node = receiver("HEPAR"), ApplicationEntity("", "", "", 0), NodeSection()
    numbers = {
        **{key: value for key, value in vars(Limits()).items() if isinstance(value, int | float)},
        **{key: value for key, value in vars(caller).items() if key.endswith("_s")},
        "port": node.port,
        "deliveries": DELIVERIES_AT_ONCE,
        "same_association_s": SAME_ASSOCIATION_S,
        "report_s": REPORT_S,
        "slowest_kb": SLOWEST_BYTES_PER_S / 1000,
        "bring_s": BRING_S,
        "search_s": SEARCH_S,
        "max_copies": MAX_COPIES,
        "credential_tries": CREDENTIAL_TRIES,
    }
    return {
        **{key: f"{number:g}" for key, number in numbers.items()},
        "pdu_bytes": str(Limits().pdu_bytes),
        "version": version("hepar"),
        "ae_title": node.ae_title,
        "host": node.host,
        "class_uid": str(entity.implementation_class_uid),
        "version_name": str(entity.implementation_version_name),
        "try_later": ", ".join(map(str, sorted(TRY_LATER))),
        "scheme": SCHEME,
    }


def _network(made: Made) -> dict[str, str]:
    return {
        "accepted": network.accepted_table(),
        "syntaxes": network.syntax_table(),
        "store_answers": network.store_answer_table(),
        "report_answers": network.report_answer_table(),
        "proposed": network.proposed_table(made),
        "store_statuses": network.store_status_table(),
        "commitment": network.commitment_table(),
        "queries": intake.query_table(),
        "geometry": intake.geometry_table(),
        "configuration": configuration_table(),
    }


def _objects(made: Made) -> dict[str, str]:
    tables = {str(kind): attribute_table(each, notes_on(kind)) for kind, (each, *_) in made.items()}
    notices = notice_examples().items()
    tables |= {name: attribute_table(each, NOTICE_NOTES) for name, each in notices}
    binary, labelmap = made[ObjectKind.SEG]
    return {
        **tables,
        "labelmap": difference_table(labelmap, binary, notes_on(ObjectKind.SEG)),
        "content": content_table(made[ObjectKind.REPORT][0]),
        "segments": terms.segment_table(),
        "codes": terms.code_table(),
    }
