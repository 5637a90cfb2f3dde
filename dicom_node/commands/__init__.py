"""The commands of the node, one module each."""

import typer

from dicom_node.command_line import LazyGroup, add_lazy
from engine.admin.command_groups import MODEL, command_group

NODE, TOOLS = "The node", "Without a node"
CLUSTER = "Several machines"
"""Panels of `hepar --help`."""

PANELS = {
    "serve": NODE,
    "jobs": NODE,
    "send": NODE,
    "pull": NODE,
    "peers": NODE,
    "rehearse": NODE,
    "rules": NODE,
    "doctor": NODE,
    "receive": CLUSTER,
    "work": CLUSTER,
    "deliver": CLUSTER,
    "web": CLUSTER,
    "drain": CLUSTER,
    "migrate": CLUSTER,
    "conformance": TOOLS,
    "demo": TOOLS,
    "segment": TOOLS,
    "reproduce": TOOLS,
    "phantom": TOOLS,
}


def register(app: typer.Typer) -> None:
    """Add the node's commands to `hepar`; each is imported when it is asked for."""
    for name, panel in PANELS.items():
        folder = f"{__name__}.roles" if panel == CLUSTER else __name__
        add_lazy(app, f"{folder}.{name}", name, panel)
    models = command_group(app, "model", MODEL, LazyGroup)
    for name in ("shadow", "promote", "rollback"):
        add_lazy(models, f"{__name__}.models.{name}", name, NODE)
