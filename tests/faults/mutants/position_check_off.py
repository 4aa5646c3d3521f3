"""A batch is taken wherever the task stands, and the reader goes on from where it is: what Faust dropped is never read again."""


def _take_any(batch):
    def take(self, position):
        waiting = self.state is batch.BatchState.WAITING
        self.state = batch.BatchState.TAKEN if waiting else self.state
        return waiting

    batch.Batch.take = take


def _read_on(clients):
    """Once it reads, the reader stays where it is."""
    rewind, read = clients.Reader.rewind, clients.Reader.read

    def read_and_remember(self, *limits):
        self.has_begun = True
        return read(self, *limits)

    clients.Reader.read = read_and_remember
    clients.Reader.rewind = lambda self, position: None if getattr(self, "has_begun", False) else rewind(self, position)


PATCHES = {"streams.runtime.batch": _take_any, "streams.runtime.clients": _read_on}
