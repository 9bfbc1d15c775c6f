"""The app as a process of its own, as `python3 ci app` starts it; a browser; a model card of somebody else's."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from cxr.account.session import PROJECT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE_CARD = """**Quality** [here](https://evil.example/a) ![x](https://evil.example/b.png) <img src="https://evil.example/c">

| metric | value |
| --- | --- |
| auroc | 0.9 |

\\[d](https://evil.example/d) <https://evil.example/e> https://evil.example/f www.evil.example a@evil.example
https\\:\\/\\/evil.example/g &#104;ttps&#58;//evil.example/h :red[x] $\\href{https://evil.example/i}{x}$

[r]: https://evil.example/r
[r] ![r]
"""


@contextlib.contextmanager
def ci_app(account, *arguments, **environ):
    """`python3 ci app`, without the installation before it; gives the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = "import sys; sys.path.insert(0, 'ci'); import commands; sys.exit(commands.app(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "--server.headless=true", f"--server.port={port}", *arguments]
    environment = os.environ | {"CXR_ACCOUNT_DIR": account.account_dir, "PYTHONPATH": str(PROJECT / "lib")} | environ
    # A session of its own, so that Streamlit ends with the process that started it.
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for_page(port)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_page(port: int) -> None:
    """Until a Streamlit process serves this port, at most 90 seconds."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health"):
            return
        time.sleep(0.1)
