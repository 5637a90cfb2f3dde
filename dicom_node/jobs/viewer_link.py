"""Link that opens a result in a viewer."""

from dicom_node.pipeline.outcome import Outcome


def viewer_link(template: str | None, study_uid: str, outcome: Outcome | None) -> str | None:
    """Return the address that opens a study with its SEG laid over it, if there is one.

    Args:
        template: `ViewerSection.url`; None where no viewer is configured.
        study_uid: Study Instance UID.
        outcome: of one of its series; None while there is none.
    """
    if outcome is None or not outcome.seg_series_uid:
        return None
    return seg_link(template, study_uid, outcome.seg_series_uid)


def seg_link(template: str | None, study_uid: str, series_uid: str) -> str | None:
    """Return the address that opens a study with one SEG, if there is a viewer."""
    return template.format(study=study_uid, series=series_uid) if template else None
