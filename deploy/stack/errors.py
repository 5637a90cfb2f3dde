"""Errors of `make stack`."""


class StackError(Exception):
    """Base of the errors that end the stack; the message states the remedy."""


class Missing(StackError):
    """A program or a file that the stack needs is not here."""


class DidNotStart(StackError):
    """A part of the stack ended, or was not ready in time."""
