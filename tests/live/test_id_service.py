"""The ID service as the gateway calls it: HTTP to the real process."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sinks.migrate import migrate

pytestmark = pytest.mark.live


@contextmanager
def serving(mysql_url: str) -> Iterator[str]:
    environ = {**os.environ, "HOLDFAST_MYSQL": mysql_url}
    command = [sys.executable, "-m", "holdfast", "ids", "serve", "--port", "0"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stderr)), None)
            assert found, "the service did not say where it listens"
            yield found.group()
        finally:
            process.terminate()


def get(url: str) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_it_gives_ids_and_refuses_what_is_no_count(fresh_database: str) -> None:
    migrate(fresh_database)
    with serving(fresh_database) as url:
        status, answer = get(f"{url}/ids?count=5000")
        ids = answer["ids"]
        assert (status, len(set(ids)), {type(i) for i in ids}) == (200, 5_000, {str})  # type: ignore[arg-type, call-overload, attr-defined]
        assert len(get(f"{url}/ids")[1]["ids"]) == 1  # type: ignore[arg-type]
        assert get(f"{url}/health")[0] == 200
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
            assert b"holdfast_ids_given_total 5001.0" in answer.read()
        for bad in ("0", "-1", "x", "10001", "", "1.5"):
            status, answer = get(f"{url}/ids?count={bad}")
            assert (status, "send a whole number from 1 to 10,000" in str(answer["error"])) == (400, True)
