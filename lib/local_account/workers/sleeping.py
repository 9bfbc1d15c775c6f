"""A suspended service: the account listens on its port, and the first request with the right token starts it again."""

import hmac
import re
import socket
import threading
from collections.abc import Callable

from local_account.workers.loopback import bind

HEADER_BYTES = 64 << 10
READ_SECONDS = 5.0
LOOK_SECONDS = 0.1
STARTING = b'{"error": "The service is suspended; it starts now. Try again."}'
REFUSED = b'{"error": "The header Authorization is missing or its token is wrong."}'


class Sleeping:
    """Answers 503 until the service runs, which ``wake`` starts; clients try again after 503."""

    def __init__(self, port: int, token: str, wake: Callable[[], object]):
        self.token, self.wake = f'Snowflake Token="{token}"', wake
        self.listener = bind(port, shared=True)
        self.listener.settimeout(LOOK_SECONDS)
        self.ended, self.waking = threading.Event(), False
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    def watch(self) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:  # nobody for a while
                continue
            with connection:
                asked = self.answer(connection)
            if asked and not self.waking:
                self.waking = True
                threading.Thread(target=self.start, daemon=True).start()
        self.listener.close()

    def start(self) -> None:
        try:
            self.wake()
        finally:
            self.waking = False  # if it did not start, the next request tries again

    def answer(self, connection: socket.socket) -> bool:
        """Whether the request has the token. The body is read, so that the answer is not lost."""
        connection.settimeout(READ_SECONDS)
        try:
            head = b""
            while b"\r\n\r\n" not in head and len(head) < HEADER_BYTES and (part := connection.recv(HEADER_BYTES)):
                head += part
            head, _, body = head.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\ncontent-length: *(\d{1,9})", head)
            missing = int(length[1]) - len(body) if length else 0
            while missing > 0 and (part := connection.recv(min(missing, 1 << 20))):
                missing -= len(part)
            given = re.search(rb"(?i)\nauthorization: *([^\r]*)", head)
            allowed = hmac.compare_digest(given[1] if given else b"", self.token.encode())
            status, text = (b"503 Service Unavailable", STARTING) if allowed else (b"401 Unauthorized", REFUSED)
            kind = b"Content-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text)
            connection.sendall(b"HTTP/1.1 " + status + b"\r\n" + kind + text)
        except OSError:
            return False
        return allowed

    def end(self) -> None:
        """Afterwards every request reaches the service."""
        self.ended.set()
        self.watcher.join()
