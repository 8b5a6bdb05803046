"""A balancer between clients and the replicas of a server on 127.0.0.1, by connections: the simplest that there is."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Sequence
from socketserver import BaseRequestHandler, ThreadingTCPServer


class Balancer:
    """Listens at `url`. Each new connection goes to the next replica in turn, or to the one after it if that does not accept."""

    def __init__(self) -> None:
        self.ports: Sequence[int] = ()
        self.connections = 0
        """How many have been passed on so far."""
        self._turns = itertools.count()
        balancer = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                replica = balancer._connect()
                if replica is None:
                    return
                with replica, contextlib.suppress(OSError):
                    for each in (self.request, replica):
                        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    thread = threading.Thread(target=_pass, args=(self.request, replica), daemon=True)
                    thread.start()
                    _pass(replica, self.request)
                    thread.join()

        class Server(ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listens no longer. Connections end with their clients."""
        self._server.shutdown()
        self._thread.join()
        self._server.socket.close()

    def _connect(self) -> socket.socket | None:
        ports, turn = self.ports, next(self._turns)
        for place in range(len(ports)):
            with contextlib.suppress(OSError):
                replica = socket.create_connection(("127.0.0.1", ports[(turn + place) % len(ports)]), timeout=5)
                replica.settimeout(None)
                self.connections += 1
                return replica
        return None


def _pass(source: socket.socket, target: socket.socket) -> None:
    """Passes bytes on until there are no more, and says so."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
