"""What can go wrong between `make stack` and an address."""


class StackError(Exception):
    """Base of what the stack says and ends with; the message says what would do."""


class Missing(StackError):
    """A program or a file that the stack needs is not here."""


class DidNotStart(StackError):
    """A part of the stack ended, or was not ready in time."""
