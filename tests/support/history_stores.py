"""What correct sinks make of a shop's history."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from holdfast.audit.stores import MYSQL, Stores
from schemas.views import ORDER_COLUMNS, PRODUCT_COLUMNS
from tests.support.history_records import Records


class StoreContents:
    """What the sinks make of a shop's history: `mysql[table]` are rows by column name, `redis[key]` are hashes."""

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
        return stores
