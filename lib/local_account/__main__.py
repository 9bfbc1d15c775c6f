"""``python -m local_account start | stop | status | serve --root DIR``; ``statements`` lists what it knows."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .process import AccountError, running, start, stop


def main() -> int:
    parser = argparse.ArgumentParser(prog="local_account", description="A stand-in for a Snowflake account.")
    parser.add_argument("command", choices=["start", "stop", "status", "serve", "statements"])
    parser.add_argument("--root", type=Path, default=Path(".account"), help="the account's folder")
    parser.add_argument("--idle-seconds", type=float, default=1800, help="stop after so long without a request")
    arguments = parser.parse_args()
    root = arguments.root.expanduser().absolute()
    commands = {"start": do_start, "stop": do_stop, "status": do_status, "serve": do_serve, "statements": do_list}
    try:
        return commands[arguments.command](root, arguments.idle_seconds)
    except AccountError as error:
        print(f"local_account: {error}", file=sys.stderr)
        return 1


def do_start(root: Path, idle_seconds: float) -> int:
    print(json.dumps(start(root, idle_seconds)))
    return 0


def do_stop(root: Path, _: float) -> int:
    print("stopped" if stop(root) else "was not running")
    return 0


def do_status(root: Path, _: float) -> int:
    info = running(root)
    print(f"running on {info['host']}:{info['port']}, pid {info['pid']}" if info else "not running")
    return 0 if info else 1


def do_serve(root: Path, idle_seconds: float) -> int:
    from .server import serve

    serve(root, idle_seconds)
    return 0


def do_list(_: Path, __: float) -> int:
    """Every statement with its fate: executed, emulated (its visible part), or recorded (kept and shown)."""
    from .statements import load

    print("executed  any query, INSERT, UPDATE, DELETE, MERGE, CREATE TABLE, CREATE VIEW")
    for entry in sorted(load(), key=lambda entry: entry.shape):
        print(f"{entry.fate:9} {entry.shape}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
