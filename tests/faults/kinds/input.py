"""Input that no well-behaved producer sends: twice, mixed up, in parts, on wrong partitions, poisoned, or too much of it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from random import Random
from typing import Final

from schemas import codec
from schemas.outcomes import MAX_ITEMS
from schemas.partitions import product_partition
from schemas.topics import ORDER_COMMANDS, ORDERS
from tests.faults.fault import CannotStrikeError, Fault, Heal
from tests.faults.poison import TOPICS, empty, poisons
from tests.faults.rough import Item, Log, RoughProducer, Shop, mixed, now_ms
from tests.faults.site import Site

ORDERS_SENT: Final = 60
PLENTY: Final = 100_000
BURST: Final = 5_000
FULL_RECORDS: Final = 5
MANY_LINES: Final = 1_000
MANY_COMMANDS: Final = 1_000
CHILD_S: Final = 60.0


def log_of(site: Site) -> Log:
    return Log(site.endpoints.kafka, site.prefix, site.partitions)


def opened(site: Site, random: Random, units: int = 200, products: int = 6) -> tuple[RoughProducer, Shop]:
    """Return a producer and a shop with so many units of each product on the way to its shelves."""
    producer, shop = RoughProducer(log_of(site)), Shop(random, products)
    for command in shop.restocks(units):
        producer.stock(command)
    return producer, shop


# -- twice, mixed up, otherwise --------------------------------------------------------------------------------------------


def send_twice(site: Site, random: Random) -> Heal:
    """Every line up to four times, in any order; and once more when the orders are long finished."""
    producer, shop = opened(site, random)
    orders = shop.orders(ORDERS_SENT)
    for line in mixed(random, orders, copies=4):
        producer.line(line)
    producer.flush()
    return lambda: _resend(producer, mixed(random, orders, copies=2))


def _resend(producer: RoughProducer, lines: list[Item]) -> None:
    for line in lines:
        producer.line(line)
    producer.flush()


_OTHERWISE: Final[tuple[Item, ...]] = (
    {"quantity": 9},
    {"unit_price": 1},
    {"user_id": "somebody else"},
    {"payment_token": "tok_other"},
    {"currency": "EUR"},
    {"line_count": 7},
    {"line": 5, "line_count": 5},
    {"line": 9, "line_count": 2},
    {"line": 0},
    {"line": -3, "line_count": -1},
    {"quantity": 0},
)


def send_otherwise(site: Site, random: Random) -> Heal:
    """Order IDs that stand for two orders: another product, number, price, user, token, currency or line count."""
    producer, shop = opened(site, random)
    orders = shop.orders(ORDERS_SENT)
    others = [{**random.choice(order), **random.choice((*_OTHERWISE, {"product_id": random.choice(shop.products)}))} for order in orders]
    for line in mixed(random, [*orders, others]):
        producer.line(line)
    producer.flush()
    return lambda: _resend(producer, mixed(random, [others]))


def send_astray(site: Site, random: Random) -> None:
    """Lines and commands on any partition, under no key, another key, or where librdkafka's own partitioner puts them."""
    producer, shop = opened(site, random)
    careless = RoughProducer(producer.log, partitioner="consistent_random")
    for number, command in enumerate(shop.restocks(30)):
        producer.stock({**command, "command_id": f"astray-{command['product_id']}"}, number % site.partitions)
    orders = shop.orders(ORDERS_SENT)
    for line in mixed(random, orders, copies=2):
        value, product = codec.encode("OrderLine", line), line["product_id"].encode()
        careless.put(ORDERS, value, random.choice((product, None, b"another key", b"\xff\x00")), random.choice((-1, random.randrange(site.partitions))))
    for order in orders:
        command = {"command_id": f"ship-{order[0]['order_id']}", "kind": random.choice(("SHIP", "CANCEL")), "order_id": order[0]["order_id"]}
        producer.command(command, random.randrange(site.partitions))
    producer.flush()
    careless.flush()


# -- producers that die ----------------------------------------------------------------------------------------------------


def dying(how: str) -> Callable[[Site, Random], None]:
    """Let a producer begin orders and kill itself."""

    def strike(site: Site, random: Random) -> None:
        log, seed = log_of(site), str(random.randrange(10**9))
        child = site.spawn("dying-producer", "tests.faults.dying_producer", log.kafka, log.prefix, str(log.partitions), seed, how)
        try:
            status = child.wait(CHILD_S)
        finally:
            child.kill()
            child.wait()
        if status != -signal.SIGKILL:
            raise CannotStrikeError(f"the producer ended by itself, exit {status}: see dying-producer.log")

    return strike


# -- poison ----------------------------------------------------------------------------------------------------------------


def send_poison(site: Site, random: Random) -> None:
    """Send everything that nobody can take to every topic, among good orders."""
    pour(*opened(site, random))


def pour(producer: RoughProducer, shop: Shop) -> None:
    """Send everything that nobody can take, each piece among good orders, to any partition of its topic."""
    chance, partitions = shop.random, producer.log.partitions
    for poison in poisons(chance):
        extra = {"headers": list(poison.headers)} | ({"timestamp": poison.timestamp} if poison.timestamp else {})
        producer.put(poison.topic, poison.value, poison.key, chance.randrange(partitions), **extra)
        for line in shop.order(2):
            producer.line(line)
    for topic in TOPICS:
        for value in empty(topic):
            producer.put(topic, value, b"empty", chance.randrange(partitions))
    producer.flush()


# -- too much --------------------------------------------------------------------------------------------------------------


def send_burst(site: Site, random: Random) -> None:
    """Thousands of single lines at once, all for one product that runs short."""
    producer, shop = opened(site, random, units=PLENTY, products=1)
    for _ in range(BURST):
        producer.line(shop.order(1, quantity=3)[0])
    producer.flush()


def send_large(site: Site, random: Random) -> None:
    """An order of a thousand lines and a thousand commands about it; one of which a line is missing."""
    producer, shop = opened(site, random, units=PLENTY, products=40)
    whole, short = shop.order(MANY_LINES), shop.order(MANY_LINES)
    for line in mixed(random, [whole, short[:-1]]):
        producer.line(line)
    producer.flush()
    for number in range(MANY_COMMANDS):
        kind, line = random.choice((("SHIP", random.randrange(1_001)), ("RETURN", random.randrange(1, 1_001)), ("CANCEL", 0)))
        about = {"command_id": f"large-{number}", "kind": kind, "line": line, "quantity": 1 if kind == "RETURN" else 0}
        producer.command({**about, "order_id": whole[0]["order_id"]})
    producer.flush()


def send_columns(site: Site, random: Random) -> None:
    """Records of as many items as a record may have: lines for one product, then cancels of their orders, on any partition."""
    producer, shop = opened(site, random, units=PLENTY)
    product = shop.products[0]
    home = product_partition(product, site.partitions)
    for _ in range(FULL_RECORDS):
        lines = [shop.order(1, product_id=product, quantity=1)[0] for _ in range(MAX_ITEMS)]
        producer.put(ORDERS, codec.encode("OrderLines", {name: [line[name] for line in lines] for name in lines[0]}), None, home)
        ids = [line["order_id"] for line in lines]
        about = {"command_id": [f"c{i}" for i in ids], "order_id": ids, "line": [0] * MAX_ITEMS, "quantity": [0] * MAX_ITEMS, "kind": bytes(MAX_ITEMS)}
        commands = codec.encode("OrderCommands", {**about, "issued_at": now_ms(), "actor": "rough"})
        producer.put(ORDER_COMMANDS, commands, None, random.randrange(site.partitions))
    producer.flush()


def send_cancels(site: Site, random: Random) -> None:
    """Cancels before, among and after the lines of their orders, racing payment; a hundred of one order that never comes."""
    producer, shop = opened(site, random)
    orders = shop.orders(ORDERS_SENT * 3)
    acts: list[Callable[[], None]] = []
    for order in orders:
        acts += [lambda line=line: producer.line(line) for line in order]  # type: ignore[misc]
        acts += [lambda command=command: producer.command(command) for command in _cancels(random, order[0]["order_id"])]  # type: ignore[misc]
    random.shuffle(acts)
    for act in acts:
        act()
    never = next(shop.order_ids)
    for number in range(100):
        producer.command({"command_id": f"never-{number}", "kind": "CANCEL", "order_id": never})
    producer.flush()


def _cancels(random: Random, order_id: int) -> list[Item]:
    return [{"command_id": f"cancel-{order_id}-{random.randrange(3)}", "kind": "CANCEL", "order_id": order_id} for _ in range(random.randrange(4))]


def restock_often(site: Site, random: Random) -> None:
    """A thousand commands about one product, each of them twice."""
    producer, shop = opened(site, random, products=1)
    product, kinds = shop.products[0], ("RESTOCK", "WRITE_OFF", "FOUND", "FREEZE", "UNFREEZE", "UNTRACK", "TRACK")
    for number in range(MANY_COMMANDS):
        kind = random.choice(kinds)
        command = {"command_id": f"often-{number}", "kind": kind, "product_id": product, "quantity": random.randint(1, 9) if kind in kinds[:3] else 0}
        for _ in range(2):
            producer.stock(command)
        producer.line(shop.order(1)[0])
    producer.flush()


FAULTS = (
    Fault("lines sent twice", "a producer without idempotence: every line up to four times, in any order, and again when all is over", send_twice, lasts_s=8),
    Fault("two orders under one ID", "lines that contradict their order, or that no order can have, in any order, and again later", send_otherwise, lasts_s=8),
    Fault("records astray", "lines and commands on wrong partitions, without keys, under others' keys", send_astray),
    Fault("producer killed in an order", "kill -9 of a producer between the lines of its orders", dying("between-lines")),
    Fault("transaction left open", "kill -9 of a producer with order lines in its open transaction", dying("in-transaction")),
    Fault("transaction aborted", "order lines in a transaction that is taken back", dying("aborted")),
    Fault("poison", "what nobody can take, in every topic: bytes, envelopes, columns, values", send_poison),
    Fault("burst", f"{BURST} lines at once, all for one product", send_burst),
    Fault("large order", f"an order of {MANY_LINES} lines and {MANY_COMMANDS} commands about it", send_large),
    Fault("large columns", f"records of {MAX_ITEMS} lines, and of {MAX_ITEMS} cancels of their orders", send_columns),
    Fault("cancel storm", "cancels before, among and after the lines, racing payment", send_cancels),
    Fault("command storm", f"{MANY_COMMANDS} commands about one product, each twice, among its orders", restock_often),
)
