"""Pure: the documentation as HTML. All of it is there without a script; `page.js` adds a filter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

from ingest.http.errors import PREFIX, ProblemType

_CODE: Final = re.compile(r"`([^`]+)`")
_LINK: Final = re.compile(r"\[(.+?)\]\((/[\w/-]*)\)")
_REF_PREFIX: Final = "#/components/schemas/"


def page_of(document: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI document."""
    info, tags = document["info"], document["tags"]
    operations = [(method, path, said) for path, methods in document["paths"].items() for method, said in methods.items()]
    by_tag = {tag["name"]: [each for each in operations if tag["name"] in each[2]["tags"]] for tag in tags}
    contents = "".join(_contents(name, found) for name, found in by_tag.items())
    sections = "".join(_section(tag, by_tag[tag["name"]]) for tag in tags)
    schemas = "".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    contents += '<a href="#bodies">bodies</a>'
    return _whole(
        info["title"],
        f'<nav aria-label="Contents"><input id="filter" type="search" placeholder="Filter ( / )" aria-label="Filter the operations">{contents}</nav>'
        f"<main><h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>{_text(info['description'])}"
        '<p><a href="/openapi.json">openapi.json</a> · <a href="/problems">problems</a></p>'
        f'{sections}<section><h2 id="bodies">bodies</h2>{schemas}</section></main>',
    )


def problem_page(kind: ProblemType) -> str:
    """Return the page of one type of problem."""
    return _whole(kind.value.title, f'<main><p><a href="{PREFIX.rstrip("/")}">problems</a></p>{_problem(kind, "h1")}</main>')


def problems_page(kinds: Iterable[ProblemType]) -> str:
    """Return the page of every type of problem."""
    return _whole("Problems", f'<main><p><a href="/docs">documentation</a></p><h1>Problems</h1>{"".join(_problem(kind, "h2") for kind in kinds)}</main>')


def _whole(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/docs/page.css">'
        f'<script src="/docs/page.js" defer></script></head><body>{body}</body></html>\n'
    )


def _problem(kind: ProblemType, heading: str) -> str:
    link = f'<a href="{kind.uri}"><code>{kind.uri}</code></a>'
    return f"<{heading}>{kind.value.status} {escape(kind.value.title)}</{heading}><p>{link}</p>{_text(kind.value.advice)}"


def _contents(tag: str, operations: Iterable[tuple[str, str, Any]]) -> str:
    items = "".join(f'<li><a href="#{said["operationId"]}">{_call(method, path)}</a></li>' for method, path, said in operations)
    return f"<strong>{escape(tag)}</strong><ul>{items}</ul>"


def _call(method: str, path: str) -> str:
    return f'<span class="method {method}">{method.upper()}</span> <code>{escape(path)}</code>'


def _section(tag: Mapping[str, Any], operations: Iterable[tuple[str, str, Any]]) -> str:
    name = escape(tag["name"])
    return f'<section><h2 id="{name}">{name}</h2><p>{escape(tag["description"])}</p>{"".join(_operation(*each) for each in operations)}</section>'


def _operation(method: str, path: str, said: Mapping[str, Any]) -> str:
    parts = [_text(said.get("description", "")), _parameters(said.get("parameters", ())), _body(said.get("requestBody")), _responses(said["responses"])]
    parts.append(f"<h4>curl</h4><pre>{escape(_curl(method, path, said))}</pre>")
    return f'<details class="operation" id="{said["operationId"]}"><summary>{_call(method, path)} {escape(said["summary"])}</summary>{"".join(parts)}</details>'


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code>{' *' if p['required'] else ''}<td>{p['in']}<td>{_kind(p['schema'])}<td>{_inline(p['description'])}"
        for p in parameters
    )
    return f"<h4>Parameters</h4><table><tr><th>name<th>in<th>type<th>{rows}</table>" if rows else ""


def _body(body: Mapping[str, Any] | None) -> str:
    return f"<h4>Body{'' if body['required'] else ' (may be left out)'}</h4>{_content(body['content'])}" if body else ""


def _responses(responses: Mapping[str, Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{status}<td>{_text(said['description'])}{_content(said.get('content', {}))}<td>{'<br>'.join(map(escape, said.get('headers', {})))}"
        for status, said in responses.items()
    )
    return f"<h4>Answers</h4><table><tr><th>status<th><th>headers{rows}</table>"


def _content(content: Mapping[str, Mapping[str, Any]]) -> str:
    return "".join(f"<p><code>{escape(media)}</code>: {_kind(said['schema'])}</p>" for media, said in content.items())


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(member)}</code>{' *' if member in required else ''}<td>{_kind(kind)}<td>{_inline(kind.get('description', ''))}"
        for member, kind in schema.get("properties", {}).items()
    )
    return f'<h3 id="schema-{name}">{name}</h3>{_text(schema.get("description", ""))}<table><tr><th>member<th>type<th>{rows}</table>'


def _kind(schema: Mapping[str, Any]) -> str:
    """Return a schema in a few words, with a link where it is one of ours."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF_PREFIX)
        return f'<a href="#schema-{name}">{name}</a>'
    if inner := schema.get("contentSchema"):
        return f"{_kind(inner)}, one a line"
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return " or ".join(_kind(each) for each in schema[choice])
    if "allOf" in schema:
        return _kind(schema["allOf"][0])
    if "items" in schema:
        return f"list of {_kind(schema['items'])}{_bounds(schema)}"
    return escape(str(schema.get("type", "any"))) + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    named = [
        (least, most) for least, most in (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")) if least in schema or most in schema
    ]
    said = "".join(f" {schema.get(least, '')}–{schema.get(most, '')}" for least, most in named)
    return said + (f", else {escape(json.dumps(schema['default']))}" if "default" in schema else "")


def _text(text: str) -> str:
    """Return paragraphs and lists of the little Markdown that our descriptions have."""
    parts = []
    for block in text.split("\n\n"):
        items = [line[2:] for line in block.split("\n") if line.startswith("- ")]
        parts.append("<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>" if items else f"<p>{_inline(block)}</p>" if block else "")
    return "".join(parts)


def _inline(text: str) -> str:
    return _LINK.sub(r'<a href="\2">\1</a>', _CODE.sub(r"<code>\1</code>", escape(text)))


def _curl(method: str, path: str, said: Mapping[str, Any]) -> str:
    """Return a command that asks for this, from a shell with the gateway's address and a key in variables."""
    words = ["curl"] + ([f"-X {method.upper()}"] if method != "get" else [])
    if said["security"]:
        words.append('-H "Authorization: Bearer $KEY"')
    if body := said.get("requestBody"):
        (media,) = body["content"]
        words.append(f"-H 'Content-Type: {media}' --data-binary @body")
    return " ".join([*words, f'"$GATEWAY{path}"'])
