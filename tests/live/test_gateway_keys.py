"""API keys on the running gateway: who gets in, to what, and what nobody gets to see."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from holdfast.cli import main
from ingest.api_keys import KeyTable, new_key_text, parse_key
from ingest.gateway import ROUTES
from ingest.http.routes import Route
from ingest.http.seams import Scope
from sinks.migrate import migrate
from tests.support.gateway import GatewayProcess, bearer, new_key, order_body, running_gateway
from tests.support.pipeline import Pipeline, running, until
from tests.support.stack import connect, unique_name

pytestmark = pytest.mark.live
SCOPED = [route for route in ROUTES if route.scopes]
REALM = 'Bearer realm="holdfast"'


@pytest.fixture(scope="module")
def pipeline(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    migrate(module_database)
    with running(Pipeline(kafka, unique_name("k"), tmp_path_factory.mktemp("gateway"), module_database, module_redis)) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(pipeline: Pipeline) -> Iterator[GatewayProcess]:
    with running_gateway(pipeline, gateway_key_cache="1") as found:
        yield found


@pytest.fixture
def mysql(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> str:
    assert pipeline.mysql
    monkeypatch.setenv("HOLDFAST_MYSQL", pipeline.mysql)
    return pipeline.mysql


def ask(gateway: GatewayProcess, route: Route, headers: dict[str, str]) -> httpx.Response:
    with gateway.client("") as client:
        return client.request(route.method, re.sub(r"\{\w+\}", "7", route.path), headers=headers)


def place(gateway: GatewayProcess, key: str, user: str = "u1") -> httpx.Response:
    with gateway.client(key) as client:
        return client.post("/v1/orders", json=order_body(user=user))


# -- who gets in ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", SCOPED, ids=lambda route: route.name)
def test_nothing_of_a_shop_is_done_or_said_without_a_key(gateway: GatewayProcess, route: Route) -> None:
    answer = ask(gateway, route, {})
    assert (answer.status_code, answer.json()["type"], answer.headers["www-authenticate"]) == (401, "/problems/unauthenticated", REALM)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_what_needs_no_key(gateway: GatewayProcess, path: str) -> None:
    with gateway.client("") as client:
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("said", ["Basic dTpw", "hf_1_2", "", "Token x"])
def test_another_scheme_is_no_key(gateway: GatewayProcess, said: str) -> None:
    answer = ask(gateway, SCOPED[0], {"authorization": said})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, REALM)


def test_a_key_that_is_no_use_is_refused_without_saying_what_exists(gateway: GatewayProcess, mysql: str) -> None:
    known = parse_key(new_key(mysql, "place"))
    assert known
    wrong = ["x", new_key_text().text, known._replace(secret=secrets.token_hex(32)).text, known.text.upper(), known.text[:-1]]
    for _ in range(2):
        answers = [place(gateway, key) for key in wrong]
        assert {answer.status_code for answer in answers} == {401}
        assert {answer.json()["detail"] for answer in answers} == {"this API key is not known"}
        assert all(answer.headers["www-authenticate"].startswith(f'{REALM}, error="invalid_token"') for answer in answers)
    assert place(gateway, known.text).status_code == 202


def test_the_scheme_is_read_in_any_case(gateway: GatewayProcess) -> None:
    assert ask(gateway, SCOPED[0], {"authorization": f"bEARER  {gateway.key}"}).status_code != 401


def test_an_expired_key(gateway: GatewayProcess, mysql: str) -> None:
    answer = place(gateway, new_key(mysql, "place", expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert (answer.status_code, answer.json()["detail"]) == (401, "this API key has expired")
    assert place(gateway, new_key(mysql, "place", expires_at=datetime.now(UTC) + timedelta(days=1))).status_code == 202


def test_a_revoked_key_is_refused_soon(gateway: GatewayProcess, mysql: str) -> None:
    key = new_key(mysql, "place")
    assert place(gateway, key).status_code == 202
    assert CliRunner().invoke(main, ["keys", "revoke", key]).exit_code == 0
    until(lambda: place(gateway, key).status_code == 401, 30, "the key is refused")
    assert place(gateway, key).json()["detail"] == "this API key was revoked"


# -- to what -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key_of_scope(pipeline: Pipeline) -> dict[Scope, str]:
    assert pipeline.mysql
    return {scope: new_key(pipeline.mysql, scope, user=None if scope is Scope.STOCK else "u1") for scope in Scope}


@pytest.mark.parametrize("route", SCOPED, ids=lambda route: route.name)
def test_a_key_without_the_scope_is_told_which_it_needs(gateway: GatewayProcess, key_of_scope: dict[Scope, str], route: Route) -> None:
    for scope in set(Scope) - set(route.scopes) - {Scope.ADMIN}:
        answer = ask(gateway, route, bearer(key_of_scope[scope]))
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
        assert answer.headers["www-authenticate"] == f'{REALM}, error="insufficient_scope", scope="{" ".join(route.scopes)}"'
        assert " or ".join(route.scopes) in answer.json()["detail"]


def test_a_key_of_a_user_places_for_that_user_alone(gateway: GatewayProcess, key_of_scope: dict[Scope, str]) -> None:
    assert place(gateway, key_of_scope[Scope.PLACE], "u1").status_code == 202
    answer = place(gateway, key_of_scope[Scope.PLACE], "u2")
    assert (answer.status_code, answer.json()["detail"]) == (403, "this key acts for another user")
    assert place(gateway, key_of_scope[Scope.ADMIN], "u2").status_code == 202


def test_a_line_of_a_batch_for_another_user_is_refused_alone(gateway: GatewayProcess, key_of_scope: dict[Scope, str]) -> None:
    content = b"\n".join(json.dumps(order_body(user=user)).encode() for user in ("u1", "u2", "u1"))
    with gateway.client(key_of_scope[Scope.PLACE]) as client:
        answers = [json.loads(line) for line in client.post("/v1/orders:batch", content=content).text.splitlines()]
    assert [a["status"] for a in answers] == ["accepted", "error", "accepted"]
    assert answers[1]["problem"]["status"] == 403


def test_the_order_of_another_user_is_not_there(gateway: GatewayProcess, key_of_scope: dict[Scope, str]) -> None:
    theirs, mine = (place(gateway, gateway.key, user).json()["order_id"] for user in ("u2", "u1"))
    with gateway.client(key_of_scope[Scope.PLACE]) as client:
        assert client.post(f"/v1/orders/{theirs}/cancel").status_code == 404
        assert client.post(f"/v1/orders/{mine}/cancel").status_code == 202


def test_a_key_without_a_user_acts_for_every_user(gateway: GatewayProcess, mysql: str) -> None:
    key = new_key(mysql, "place")
    assert [place(gateway, key, user).status_code for user in ("u1", "u2")] == [202, 202]


def test_figures_are_closed_where_that_is_set(pipeline: Pipeline, mysql: str) -> None:
    with running_gateway(pipeline, gateway_metrics="key") as closed:
        statuses = [closed.client(key).get("/metrics").status_code for key in ("", new_key(mysql, "place"), closed.key)]
    pipeline.settings["HOLDFAST_GATEWAY_METRICS"] = "auto"
    assert statuses == [401, 403, 200]


# -- what made-up keys cost, and what is not said ------------------------------------------------------------------------


def selects(mysql: str) -> int:
    with connect(mysql) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")
        return int(cursor.fetchall()[0][1])


def test_keys_made_up_are_looked_up_together_and_not_again(gateway: GatewayProcess, mysql: str) -> None:
    again = new_key_text().text

    def guess(_thread: int) -> set[int]:
        with gateway.client("") as client:
            keys = [key for _ in range(25) for key in (new_key_text().text, again)]
            return {client.post("/v1/orders", json={}, headers=bearer(key)).status_code for key in keys}

    before = selects(mysql)
    with ThreadPoolExecutor(16) as threads:
        assert set().union(*threads.map(guess, range(16))) == {401}
    # 416 different keys asked for 800 times.
    assert selects(mysql) - before < 300


def test_no_log_holds_a_secret(gateway: GatewayProcess, mysql: str) -> None:
    key = parse_key(new_key(mysql, "place", user="u1"))
    assert key
    trace_id = secrets.token_hex(16)
    with gateway.client(key.text) as client:
        client.post("/v1/orders", json=order_body(), headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
    (line,) = gateway.access_lines(trace_id)
    assert (line["key"], line["user"]) == (key.key_id, "u1")
    assert not gateway.child.said(key.secret)
    assert not gateway.child.said(gateway.key)


# -- holdfast keys -------------------------------------------------------------------------------------------------------


def keys_command(*words: str) -> Result:
    return CliRunner().invoke(main, ["keys", *words])


def test_a_key_is_made_listed_and_revoked(gateway: GatewayProcess, mysql: str) -> None:
    made = keys_command("create", "--user", "u1", "--scope", "read,place", "--name", "till 3", "--expires", "90d", "--rate", "5", "--json")
    document = json.loads(made.stdout)
    assert (document["user"], document["scopes"], document["name"], document["rate"], document["burst"]) == ("u1", ["place", "read"], "till 3", 5, 5)
    assert place(gateway, document["key"]).status_code == 202

    listed = {key["key_id"]: key for key in json.loads(keys_command("list", "--json").stdout)}
    assert listed[document["key_id"]] == {name: value for name, value in document.items() if name != "key"}
    words = keys_command("list").stdout
    assert document["key_id"] in words
    secret = document["key"].rpartition("_")[2]
    assert secret not in words + json.dumps(listed)
    assert stored_texts(mysql).count(secret) == 0

    first, second = (json.loads(keys_command("revoke", document["key_id"], "--json").stdout) for _ in range(2))
    assert first == second
    assert (first["state"], listed[document["key_id"]]["state"]) == ("revoked", "active")


def stored_texts(mysql: str) -> str:
    with connect(mysql) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM api_keys")
        return repr(cursor.fetchall())


def test_a_key_in_words_goes_to_standard_output_alone(mysql: str) -> None:
    made = keys_command("create", "--scope", "admin")
    assert parse_key(made.stdout.strip())
    assert "every user" in made.stderr
    assert made.stdout.strip() not in made.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create",), "Missing option '--scope'"),
        (("create", "--scope", "plaice"), "the scopes are place, read, stock, admin"),
        (("create", "--scope", ""), "the scopes are"),
        (("create", "--scope", "place", "--user", "x" * 65), "1 to 64 characters"),
        (("create", "--scope", "place", "--user", ""), "1 to 64 characters"),
        (("create", "--scope", "place", "--name", "x" * 129), "at most 128 characters"),
        (("create", "--scope", "place", "--expires", "soon"), "neither a span such as 90d"),
        (("create", "--scope", "place", "--expires", "2020-01-01"), "is over"),
        (("create", "--scope", "place", "--expires", "999999w"), "neither a span"),
        (("create", "--scope", "place", "--burst", "5"), "--burst needs --rate"),
        (("create", "--scope", "place", "--rate", "0"), "--rate"),
        (("revoke", "nonsense"), "neither a key nor a key's ID"),
        (("revoke", "0123456789abcdef"), "there is no key 0123456789abcdef"),
    ],
)
def test_wrong_words_are_answered(mysql: str, words: tuple[str, ...], said: str) -> None:
    count = len(KeyTable(mysql).all())
    done: Any = keys_command(*words)
    assert done.exit_code != 0
    assert said in re.sub(r"\s+", " ", done.stderr)
    assert len(KeyTable(mysql).all()) == count


def test_a_database_without_tables_is_told(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_MYSQL", fresh_database)
    done = keys_command("create", "--scope", "place")
    assert (done.exit_code, "run `holdfast migrate`" in done.stderr) == (1, True)
