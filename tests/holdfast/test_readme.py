"""What the README shows works."""

import os
import re
import subprocess
import sys
from pathlib import Path

from holdfast import topics
from holdfast.cli import COMMANDS
from holdfast.log_tail import whole
from schemas.codec import decode
from sinks.migrate import migrate

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_its_program_publishes_an_order(kafka: str, fresh_database: str) -> None:
    topics.create(kafka)
    migrate(fresh_database)
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    environment = os.environ | {"HOLDFAST_KAFKA": kafka, "HOLDFAST_MYSQL": fresh_database}
    done = subprocess.run([sys.executable, "-c", program], check=False, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    order_id = int(done.stdout.split()[0])
    lines = [value for name, value, _ in (decode(message.value()) for message in whole(kafka, ["orders"])) if name == "OrderLine"]
    assert sorted((line["line"], line["product_id"]) for line in lines if line["order_id"] == order_id) == [(1, "85123A"), (2, "POST")]


def test_it_names_every_command() -> None:
    shown = set(re.findall(r"`holdfast ([a-z-]+)|, `([a-z-]+)", README.partition("## Commands")[2].partition("| variable |")[0]))
    assert set(COMMANDS) <= {name for pair in shown for name in pair}
