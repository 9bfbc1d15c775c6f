"""``python -m local_account start | stop | status | serve --root DIR``; ``statements`` lists what it knows."""

import argparse
import json
import re
import sys
from pathlib import Path

from local_account.account.private_files import AccountError
from local_account.account.process import running, start, stop


def main() -> int:
    parser = argparse.ArgumentParser(prog="local_account", description="A stand-in for a Snowflake account.")
    parser.add_argument("command", choices=["start", "stop", "status", "serve", "statements"])
    parser.add_argument("--root", type=Path, default=Path(".account"), help="the account's folder")
    parser.add_argument("--idle-seconds", type=float, default=1800, help="stop after so long without a request")
    given = parser.parse_args()
    try:
        return run(given.command, given.root.expanduser().absolute(), given.idle_seconds)
    except AccountError as error:
        print(f"local_account: {error}", file=sys.stderr)
        return 1


def run(command: str, root: Path, idle_seconds: float) -> int:
    if command == "start":
        print(json.dumps(start(root, idle_seconds)))
    elif command == "stop":
        print("stopped" if stop(root) else "was not running")
    elif command == "status":
        info = running(root)
        print(f"running on {info['host']}:{info['port']}, pid {info['pid']}" if info else "not running")
        return 0 if info else 1
    elif command == "serve":
        from local_account.server.serve import serve  # late: it takes a second to import

        serve(root, idle_seconds)
    else:
        from local_account.statements.handlers import STATEMENTS  # late: as above

        print("executed  any query, INSERT, UPDATE, DELETE, MERGE, CREATE TABLE, CREATE VIEW")
        shapes = {re.sub(r"\{([^|}]*)\}", r"\1", entry.shape): entry.support for entry in STATEMENTS}
        print("\n".join(f"{support:9} {shape}" for shape, support in sorted(shapes.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
