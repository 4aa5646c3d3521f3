"""`python -m failpoints`: the list of failpoints."""

from __future__ import annotations

import argparse
import json

from failpoints.names import NAMES


def main() -> None:
    """Print each failpoint and its meaning."""
    parser = argparse.ArgumentParser("python -m failpoints", description="List the failpoints that HOLDFAST_FAILPOINTS may name.")
    parser.add_argument("--json", action="store_true", help="as one JSON object: name to meaning")
    if parser.parse_args().json:
        print(json.dumps(NAMES, indent=2))
        return
    width = max(map(len, NAMES))
    print("\n".join(f"{name:{width}}  {meaning}" for name, meaning in NAMES.items()))


main()
