"""What can go wrong with the stack, each with what to do about it in its text."""


class StackError(Exception):
    """Anything that a person running `holdfast` has to be told; the text says what, where and what to do."""


class NoStackError(StackError):
    """No endpoint in the environment and no stack running."""


class MissingProgramError(StackError):
    """A program the stack needs is not installed and could not be installed."""


class NotHealthyError(StackError):
    """A server did not answer its health check."""


class ProcessFailedError(StackError):
    """A process of the stack ended, or stayed unhealthy, while it was being started."""
