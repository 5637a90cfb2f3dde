"""The commands of the node, one module each."""

import typer

from dicom_node.commands import conformance, demo, jobs, phantom, pull, segment, send, serve

NODE, TOOLS = "The node", "Without a node"
"""Panels of `hepar --help`."""


def register(app: typer.Typer) -> None:
    """Add the node's commands to `hepar`."""
    app.command("serve", rich_help_panel=NODE)(serve.serve)
    app.add_typer(jobs.app, name="jobs", rich_help_panel=NODE)
    app.command("send", rich_help_panel=NODE)(send.send)
    app.command("pull", rich_help_panel=NODE)(pull.pull)
    app.command("conformance", rich_help_panel=TOOLS)(conformance.conformance)
    app.command("demo", rich_help_panel=TOOLS)(demo.demo)
    app.command("segment", rich_help_panel=TOOLS)(segment.segment)
    app.command("phantom", rich_help_panel=TOOLS)(phantom.phantom)
