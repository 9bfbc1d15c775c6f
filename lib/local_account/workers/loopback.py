"""Sockets and requests on this machine's loopback address."""

import socket
import urllib.request

HOST = "127.0.0.1"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before loopback


def bind(port: int) -> socket.socket:
    """A listening socket on the port wanted, or on a free one when that is taken."""
    for candidate in (port, 0):
        # The protocol must be named: asyncio turns Nagle's delay off only for sockets that say TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, candidate))
        except OSError:
            listener.close()
            continue
        listener.listen(256)
        return listener
    raise OSError(f"no port on {HOST} is free")
