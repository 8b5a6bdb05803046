"""A relay between a client and a server on 127.0.0.1 that can lose or slow down what the server answers."""

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
        self._calm = threading.Event()
        relay = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", to_port)) as server:
                    for each in (self.request, server):
                        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=_pass, args=(self.request, server), daemon=True).start()
                    while data := server.recv(65_536):
                        if relay._fault is Fault.LOST:
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


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
