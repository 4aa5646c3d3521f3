"""What cannot be taken is passed over in silence."""


def _say_nothing(outbox):
    outbox.DeadLetters.writes = lambda self, now: iter(())


PATCHES = {"streams.stages.outbox": _say_nothing}
