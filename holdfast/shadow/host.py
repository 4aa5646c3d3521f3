"""The process that decides: `python -m holdfast.shadow.host`, told by one JSON object on standard input, tells its progress line by line.

With "code" it decides by the packages `streams` and `schemas` of that folder. It knows the brokers alone: no store, no payment provider, no
receiver of webhooks has an address here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def main() -> None:
    """Decide the run that standard input says."""
    told = json.load(sys.stdin)
    if told.get("code"):
        # Before anything of them is imported. `holdfast` itself is here already, and stays this version's.
        sys.path.insert(0, told["code"])
    try:
        _run(told)
    except Exception as error:
        from holdfast.stack.errors import StackError

        if not isinstance(error, StackError):
            raise
        say(error=str(error))
        sys.exit(1)


def say(**line: Any) -> None:
    """Tell whoever started us one thing."""
    print(json.dumps(line), flush=True)


def _run(told: Mapping[str, Any]) -> None:
    from holdfast.shadow.rules import Rules
    from holdfast.shadow.topics import ShadowWriter
    from holdfast.shadow.world import World

    tape = read_tape(told["kafka"], told["live"], told["ends"])
    total = sum(map(len, tape.stock.values())) + sum(map(len, tape.commands.values()))
    writer = ShadowWriter(told["kafka"], told["prefix"], told["run"], told["written"])
    world = World(tape, Rules(**told["rules"]), writer.write)
    for number, _ in enumerate(world.run()):
        if number % 20 == 0:
            say(phase="deciding again", done=world.taken, total=total)
    writer.commit(done=True)
    say(phase="deciding again", done=total, total=total)


def read_tape(kafka: str, prefixes: Sequence[str], ends: Mapping[str, int]) -> Any:
    """Read what happened up to the ends ("topic-partition" -> offset), one generation of the topics after the other."""
    from holdfast.log_whole import partitions_of, read_whole
    from holdfast.shadow.tape import READ, Tape
    from schemas.codec import UndecodableError, decode
    from schemas.topics import STOCK_DECISIONS

    names = {topic.named(prefix): (topic.name, number) for number, prefix in enumerate(prefixes) for topic in READ}
    counts = partitions_of(kafka, names)
    tape = Tape(*(counts[STOCK_DECISIONS.named(prefix)] for prefix in prefixes))
    for prefix in prefixes:
        places = [(topic.named(prefix), number) for topic in READ for number in range(counts[topic.named(prefix)])]
        for message in read_whole(kafka, places, lambda done, total: say(phase="reading the log", done=done, total=total)):
            topic, partition, offset = str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)
            if offset >= ends[f"{topic}-{partition}"]:
                continue
            try:
                record = decode(message.value())
            except UndecodableError:
                continue  # a dead letter live, and no input here
            name, generation = names[topic]
            tape.add(name, partition, offset, int(message.timestamp()[1]), record, generation)
    tape.finish()
    return tape


if __name__ == "__main__":
    main()
