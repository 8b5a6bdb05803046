"""A relay between a client and a server on 127.0.0.1 that can lose or slow down what the server answers, or cut the line."""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
from collections.abc import Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer


class Fault(enum.Enum):
    """What happens to the bytes of an answer."""

    LOST = "they are read and thrown away, and the connection is cut"
    TRICKLES = "one byte every 20 milliseconds"


class Relay:
    """Listens at `port`."""

    def __init__(self, to_port: int) -> None:
        self._fault: Fault | None = None
        self.requests = 0
        """How many requests of HTTP have come so far."""
        self._lock = threading.Lock()
        self._left: int | None = None
        self._deliver_last = self._is_cut = False
        self._calm = threading.Event()
        relay = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", to_port)) as server:
                    for each in (self.request, server):
                        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=relay._pass, args=(self.request, server), daemon=True).start()
                    while data := server.recv(65_536):
                        if relay._fault is Fault.LOST or relay._is_cut:
                            self.request.shutdown(socket.SHUT_RDWR)
                            return
                        relay._answer(self.request, data)

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        """Meanwhile answers suffer."""
        self._calm.clear()
        self._fault = fault
        try:
            yield
        finally:
            self._fault = None
            self._calm.set()

    @contextlib.contextmanager
    def cut_after(self, requests: int, *, deliver_last: bool) -> Iterator[None]:
        """Meanwhile so many requests of HTTP come through, and then none; with `deliver_last` one more, but not its answer."""
        self._left, self._deliver_last = requests, deliver_last
        try:
            yield
        finally:
            self._left, self._is_cut = None, False

    def stop(self) -> None:
        """Listens no longer. Connections end with their clients."""
        self._server.shutdown()
        self._thread.join()
        self._server.socket.close()

    def _answer(self, client: socket.socket, data: bytes) -> None:
        if self._fault is not Fault.TRICKLES:
            client.sendall(data)
            return
        for position in range(len(data)):
            client.sendall(data[position : position + 1])
            self._calm.wait(0.02)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if data.startswith(_METHODS) and not self._admits():
                    source.shutdown(socket.SHUT_RDWR)
                    break
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def _admits(self) -> bool:
        with self._lock:
            self.requests += 1
            if self._left is None:
                return True
            self._left -= 1
            if self._left >= 0:
                return True
            last, self._is_cut = not self._is_cut, True
            return last and self._deliver_last


_METHODS = (b"GET ", b"LIST ", b"POST ", b"PUT ", b"DELETE ")
