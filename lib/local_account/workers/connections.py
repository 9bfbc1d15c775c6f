"""Connections that cannot be held open by sending nothing: limits in number and time, before a request is complete."""

import asyncio
import functools

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 512
PATIENCE = 10.0  # seconds
SLOW_SECONDS, SLOW_BYTES = 30.0, 1024  # a body that takes longer must bring so many bytes a second
LOOKS = 5  # within the patience


class LimitedConnection(H11Protocol):
    """When there are too many connections, the one that has kept the server waiting for longest is closed, so that a
    new one always gets in.

    ``patience`` is the longest time from the first byte of a request, or from connecting, to the end of its headers,
    and the longest silence within a body.
    """

    def __init__(self, *arguments: object, patience: float, **more: object):
        super().__init__(*arguments, **more)
        self.patience = patience

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.heard = self.pending = self.loop.time()  # pending: since when headers are awaited
        self.began, self.brought = self.heard, 0  # of the body that arrives
        self.timer = self.loop.call_later(self.patience / LOOKS, self.look)
        if len(self.connections) > CONNECTIONS:
            waiting = [other for other in self.connections if other.awaits_client]
            min(waiting, key=lambda other: other.heard, default=self).cut()

    @property
    def awaits_client(self) -> bool:
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            return not self.flow.read_paused
        return self.cycle is None or self.cycle.response_complete

    def cut(self) -> None:
        self.connections.discard(self)
        self.timer.cancel()
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        self.brought += len(data)
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self.began, self.brought = self.heard, len(data)
        if self.conn.their_state is not h11.IDLE:
            self.pending = None
        elif self.pending is None and self.conn.trailing_data[0]:
            self.pending = self.heard

    def look(self) -> None:
        now = self.loop.time()
        body = self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused
        lasted = now - self.began
        if (
            (self.pending is not None and now - self.pending > self.patience)
            or (body and now - self.heard > self.patience)
            or (body and lasted > SLOW_SECONDS and self.brought < lasted * SLOW_BYTES)
            or (body and lasted > SLOW_SECONDS and self.cycle.response_complete)
        ):
            self.cut()
        else:
            self.timer = self.loop.call_later(self.patience / LOOKS, self.look)

    def connection_lost(self, exc: Exception | None) -> None:
        self.timer.cancel()
        super().connection_lost(exc)


def configuration(app: Starlette, patience: float = PATIENCE) -> uvicorn.Config:
    """For a server on loopback; it ends within seconds of being asked to."""
    return uvicorn.Config(
        app, http=functools.partial(LimitedConnection, patience=patience), ws="none", log_level="error",
        access_log=False, lifespan="off", backlog=128, timeout_keep_alive=75, timeout_graceful_shutdown=2,
    )  # fmt: skip
