"""What can be wrong with a change of the partition count."""

from holdfast.stack.errors import StackError


class RepartitionError(StackError):
    """The change cannot begin or go on; the text says where it stands and what to do. Run again, it goes on from there."""


class TakenOverError(RepartitionError):
    """Another program goes on with the change; this one must not."""
