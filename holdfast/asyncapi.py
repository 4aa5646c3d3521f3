"""The AsyncAPI 3.0 document of the topics: what schemas/topics.py and schemas/avro say, for people and tools of any language. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from schemas import codec
from schemas.topics import ALL, DEAD_LETTERS, DEFAULT_PARTITIONS, ORDER_COMMANDS, ORDER_OUTCOMES, ORDERS, STOCK_COMMANDS, STOCK_LEVELS, Topic

Document: TypeAlias = dict[str, Any]
VERSION: Final = "1.0.0"
"""Of the topics' contracts, by semantic versioning."""
AVRO: Final = "application/vnd.apache.avro;version=1.9.0"
WRITTEN_BY_ANYBODY: Final = (ORDERS, STOCK_COMMANDS, ORDER_COMMANDS)
READ_BY_ANYBODY: Final = (ORDER_OUTCOMES, STOCK_LEVELS, DEAD_LETTERS)
_BINDING: Final = "0.5.0"
_INFO: Final = {
    "title": "Holdfast topics",
    "version": VERSION,
    "description": "Orders in, outcomes out. Values are Avro in the Confluent wire format (0x00, 4-byte schema ID, body); keys are text, and the partition is "
    "murmur2 of the key (Java's default; in librdkafka `partitioner=murmur2_random`). Money is in minor units beside an ISO 4217 code, time in ms since 1970. "
    "Read with `isolation.level=read_committed`: what an aborted transaction wrote was never said.",
    "license": {"name": "Apache-2.0"},
}


def document() -> Document:
    """Return the document: every topic as a channel, and an operation for each that others may write to or read."""
    return {
        "asyncapi": "3.0.0",
        "info": _INFO,
        "defaultContentType": "application/vnd.confluent.avro",
        "servers": {
            "kafka": {
                "host": "{host}",
                "protocol": "kafka",
                "variables": {"host": {"description": "host:port of a broker", "default": "localhost:9092"}},
            }
        },
        "channels": {topic.name: _channel(topic) for topic in ALL},
        "operations": dict(_operations()),
        "components": {"messages": {name: _message(name) for name in _records(ALL)}, "schemas": {name: _schema(name) for name in _records(ALL)}},
    }


def text() -> str:
    """Return the document as it is kept in docs/asyncapi.json."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _records(topics: Iterable[Topic]) -> list[str]:
    return sorted({name for topic in topics for name in topic.records})


def _channel(topic: Topic) -> Document:
    configuration = {"cleanup.policy": ["compact" if topic.compacted else "delete"], "max.message.bytes": topic.max_message_bytes}
    kafka = {"topic": topic.name, "partitions": topic.partitions or DEFAULT_PARTITIONS, "topicConfiguration": configuration, "bindingVersion": _BINDING}
    return {
        "address": topic.name,
        "title": topic.name,
        "description": f"Keyed by {topic.key}. Written by: {', '.join(topic.writers)}. Read by: {', '.join(topic.readers)}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in topic.records},
        "bindings": {"kafka": kafka},
    }


def _operations() -> Iterable[tuple[str, Document]]:
    """Yield what an application that is no part of Holdfast may do."""
    for topic in WRITTEN_BY_ANYBODY:
        yield f"write-{topic.name}", _operation("receive", topic, f"Holdfast takes these from anybody who may write to {topic.name}.")
    for topic in READ_BY_ANYBODY:
        yield f"read-{topic.name}", _operation("send", topic, f"Holdfast says these to anybody who may read {topic.name}.")


def _operation(action: str, topic: Topic, summary: str) -> Document:
    messages: Sequence[Document] = [{"$ref": f"#/channels/{topic.name}/messages/{name}"} for name in topic.records]
    return {"action": action, "channel": {"$ref": f"#/channels/{topic.name}"}, "summary": summary, "messages": messages}


def _message(name: str) -> Document:
    avro = json.loads(codec.schema_text(name))
    kafka = {"schemaIdLocation": "payload", "schemaIdPayloadEncoding": "confluent", "key": {"type": "string"}, "bindingVersion": _BINDING}
    return {
        "name": name,
        "title": name,
        "summary": avro.get("doc", name),
        "contentType": "application/vnd.confluent.avro",
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": {"kafka": kafka},
    }


def _schema(name: str) -> Document:
    return {"schemaFormat": AVRO, "schema": json.loads(codec.schema_text(name))}
