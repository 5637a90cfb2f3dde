"""Entry point of the Orthanc plugin; name this file as `PythonScript` in its configuration."""

import json

import orthanc

from hepar_plugin.archive import Archive
from hepar_plugin.explorer import page_script
from hepar_plugin.handover import Handover
from hepar_plugin.routes import register
from hepar_plugin.settings import read_settings

archive = Archive(orthanc)
settings = read_settings(json.loads(orthanc.GetConfiguration()))
handover = Handover(archive, settings)


def on_change(change: int, level: int, resource: str) -> None:
    """Take up what waits when Orthanc starts, offer what is complete, end with Orthanc."""
    if change == orthanc.ChangeType.ORTHANC_STARTED:
        handover.start()
    elif change == orthanc.ChangeType.ORTHANC_STOPPED:
        handover.stop()
    elif change == orthanc.ChangeType.STABLE_SERIES and settings.automatic:
        handover.offer(resource)


orthanc.RegisterOnChangeCallback(on_change)
register(orthanc, archive, handover, settings)
orthanc.ExtendOrthancExplorer(page_script())
