"""The app as a process of its own, as `python3 ci app` starts it; and a model card that somebody else wrote."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from cxr.account.session import PROJECT

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
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health"):
                break
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
