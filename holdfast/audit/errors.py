"""What keeps the audit from being made."""


class CannotCheckError(Exception):
    """A server, topic or table that the audit needs is not there; the text says which, where, and what to do."""
