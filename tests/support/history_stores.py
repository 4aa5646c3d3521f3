"""What correct sinks make of a shop's history, and what a client wrote down that sent all of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.audit.journals import Journal
from holdfast.audit.stores import MYSQL, Stores
from schemas.outcomes import StockCommandKind
from schemas.topics import ORDER_OUTCOMES, STOCK_LEVELS
from schemas.views import ORDER_COLUMNS, PRODUCT_COLUMNS
from tests.support.history_records import Records, lines_of


class StoreContents:
    """What the sinks make of a shop's history: `mysql[table]` are rows by column name, `redis[key]` are hashes.

    `positions[sink]`: (topic with its prefix, partition) -> next offset. `journal`: its lines, as values.
    """

    def __init__(self, shop: Records) -> None:
        levels = {rec.value["product_id"]: rec.value for rec in shop.all("StockLevel")}
        outcomes = {rec.value["order_id"]: rec.value for rec in shop.all("OrderOutcome")}
        self.mysql: dict[str, list[dict[str, Any]]] = {"products": [{c: x[c] for c in PRODUCT_COLUMNS} for x in levels.values()]}
        self.mysql["orders"] = [{c: x[c] for c in ORDER_COLUMNS} for x in outcomes.values()]
        self.mysql["order_lines"] = [{"order_id": x["order_id"], "version": x["version"], **line} for x in outcomes.values() for line in x["lines"]]
        times: defaultdict[str, list[int]] = defaultdict(list)
        for x in outcomes.values():
            times[x["user_id"]].append(x["placed_at"])
        self.mysql["users"] = [{"user_id": u, "first_order_at": min(at), "last_order_at": max(at)} for u, at in times.items()]
        self.redis = {f"stock:{k}": {c: str(x[c] if isinstance(x[c], str) else int(x[c])) for c in PRODUCT_COLUMNS} for k, x in levels.items()}
        self.redis |= {f"order:{k}": {**{c: str(x[c]) for c in ORDER_COLUMNS}, "lines": json.dumps(x["lines"])} for k, x in outcomes.items()}

        read = {(t.named(shop.prefix), p): shop.ends.get((t.name, p), 0) for t in (ORDER_OUTCOMES, STOCK_LEVELS) for p in range(shop.partitions)}
        self.positions = {sink: dict(read) for sink in ("mysql", "redis")}
        self.journal = list(_journal(shop))

    def row(self, table: str, **fields: Any) -> dict[str, Any]:
        """The first row with these values."""
        return next(row for row in self.mysql[table] if all(row[name] == value for name, value in fields.items()))

    def stores(self) -> Stores:
        """The contents as the audit reads them."""
        stores = Stores()
        for table, rows in self.mysql.items():
            stores.add_rows(table, [[row[column] for column in MYSQL[table]] for row in rows])
        for key, fields in self.redis.items():
            stores.add_hash(key, fields)
        for sink, positions in self.positions.items():
            for (topic, partition), position in positions.items():
                stores.positions[sink, topic, partition] = position
        return stores

    def entry(self, word: str, **fields: Any) -> dict[str, Any]:
        """The first line of the journal that says `send` or `ack` of something with these values."""
        return next(line for line in self.journal if word in line and all(line[word].get(name) == value for name, value in fields.items()))

    def written(self, folder: Path) -> Journal:
        """The journal as a file."""
        path = folder / "client.journal"
        path.write_text("".join(json.dumps(line) + "\n" for line in self.journal))
        return Journal.open(path)


def _journal(shop: Records) -> Iterator[dict[str, Any]]:
    for rec in shop.records:
        if rec.name in ("OrderLine", "OrderLines"):
            for line in lines_of(rec):
                order_id = str(line["order_id"])
                yield {"t": shop.now, "send": {"order_id": order_id, "lines": [[line["line"], line["product_id"], line["quantity"]]], "copies": 1}}
                yield {"t": shop.now, "ack": {"order_id": order_id, "lines": [line["line"]]}}
        elif rec.name == "OrderCommand" and rec.value["command_id"]:
            yield {"t": shop.now, "send": {**rec.value, "order_id": str(rec.value["order_id"])}}
            yield {"t": shop.now, "ack": {"command_id": rec.value["command_id"]}}
        elif rec.name == "StockCommands" and rec.value["command_id"][0]:
            command = {name: rec.value[name][0] for name in ("command_id", "product_id", "quantity")}
            yield {"t": shop.now, "send": {**command, "kind": StockCommandKind(rec.value["kind"][0]).name}}
            yield {"t": shop.now, "ack": {"command_id": command["command_id"]}}
