"""Sockets and requests on this machine's loopback address."""

import socket
import urllib.request

HOST = "127.0.0.1"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before loopback


def bound(port: int, shared: bool) -> socket.socket:
    """A socket that has the port, or a free one for 0. ``shared``: further sockets of this user may have it too."""
    # The protocol must be named: asyncio turns Nagle's delay off only for sockets that say TCP.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if not shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif hasattr(socket, "SO_REUSEPORT"):  # without SO_REUSEADDR, by which others could share the port too
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((HOST, port))
    except OSError:
        made.close()
        raise
    return made


def bind(port: int, shared: bool = False) -> socket.socket:
    """A listening socket."""
    listener = bound(port, shared)
    listener.listen(256)
    return listener


class Ports:
    """The ports of services. A port stays taken while this process lives, though nobody listens while the service is
    down: no other user can take it and be sent what clients of the service send."""

    def __init__(self) -> None:
        self.taken: dict[str, socket.socket] = {}

    def of(self, name: str) -> int:
        """The service's port. The service itself listens on a further socket, which only this user can bind to it."""
        if name not in self.taken:
            self.taken[name] = bound(0, shared=True)
        return self.taken[name].getsockname()[1]
