"""Run a command as a container runs its first process: ``python supervise.py COMMAND ...``

Standard input is a pipe from the server. When it closes, because the job is cancelled or the server has died, the
command and all that it started are asked to end, then killed; so no job outlives its server. What the command leaves
running when it ends is killed too. The exit code is the command's: 127 without such a command, 128 + n for signal n.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 5.0  # from SIGTERM to SIGKILL


def main(command: list[str]) -> int:
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 127
    threading.Thread(target=end_with_server, args=(child,), daemon=True).start()
    code = child.wait()
    signal_all(child, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def end_with_server(child: subprocess.Popen) -> None:
    while os.read(0, 1024):  # until the pipe closes
        pass
    signal_all(child, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_SECONDS)
    signal_all(child, signal.SIGKILL)


def signal_all(child: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing of the group is left
        os.killpg(child.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
