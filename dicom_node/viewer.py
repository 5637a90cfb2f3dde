"""The link under which a viewer shows a result."""

from dicom_node.outcome import Outcome


def viewer_link(template: str | None, study_uid: str, outcome: Outcome | None) -> str | None:
    """Return the address that opens a study with its SEG laid over it, if there is one.

    Args:
        template: `ViewerSection.url`; None where no viewer is configured.
        study_uid: Study Instance UID.
        outcome: what came of one of its series; None while nothing has.
    """
    if template is None or outcome is None or not outcome.seg_series_uid:
        return None
    return template.format(study=study_uid, series=outcome.seg_series_uid)
