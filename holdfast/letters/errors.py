"""What a person who settles dead letters has to be told."""

from holdfast.stack.errors import StackError


class LetterError(StackError):
    """Dead letters that cannot be read or settled; the text says why and what to do."""
