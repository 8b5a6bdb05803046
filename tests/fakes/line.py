"""A line between a client and a server on 127.0.0.1 that fails in all the ways in which lines do."""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import threading
from pathlib import Path

_PIECE = 65_536
_RESET = struct.pack("ii", 1, 0)


class Line(enum.Enum):
    """How a line is."""

    WELL = "bytes pass"
    SLOW = "bytes pass, each piece late"
    BLACK_HOLE = "connections open, and no byte ever arrives"
    RESETS = "connections are reset, those that are open and each new one"
    REFUSES = "nobody listens, and what was open is reset"
    CUT = "so many more bytes pass from the server, then everything is reset"


class FaultyLine:
    """Listens at `port` from the moment when it is made. Thread-safe.

    What a black hole has swallowed never arrives: its connections are reset when the line is set anew.
    """

    def __init__(self, to: int | Path) -> None:
        """`to` is a port of 127.0.0.1, or a Unix socket."""
        self._to, self._lock = to, threading.Lock()
        self._fault, self._seconds, self._left = Line.WELL, 0.0, 0
        self._changed = threading.Condition(self._lock)
        self._open: set[socket.socket] = set()
        self._is_stopped = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        """How many have come so far."""
        self._listen()

    def set(self, fault: Line, *, seconds: float = 0.0, after_bytes: int = 0) -> None:
        """How it is from now on: `seconds` is for slow lines, `after_bytes` for those that are cut."""
        with self._lock:
            heals = self._fault is Line.BLACK_HOLE
            listens = self._fault is not Line.REFUSES
            self._fault, self._seconds, self._left = fault, seconds, after_bytes
            if heals or fault in (Line.RESETS, Line.REFUSES):
                self._reset_all()
            if fault is Line.REFUSES and listens:
                self._close_listener()
            elif fault is not Line.REFUSES and not listens:
                self._listener = socket.create_server(("127.0.0.1", self.port))
                self._listen()
            self._changed.notify_all()

    def stop(self) -> None:
        """Resets what is open, and listens no longer."""
        with self._lock:
            self._is_stopped = True
            self._reset_all()
            if self._fault is not Line.REFUSES:
                self._close_listener()
            self._changed.notify_all()

    def _listen(self) -> None:
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._thread.start()

    def _close_listener(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            if self._is_stopped or self._fault in (Line.RESETS, Line.REFUSES):
                _reset(client)
                return
            self._open.add(client)
        try:
            server = _connect(self._to)
        except OSError:
            self._end(client)
            return
        server.settimeout(None)
        with self._lock:
            self._open.add(server)
        with contextlib.suppress(OSError):  # it may have been ended meanwhile, and is found so below
            for each in (client, server) if isinstance(self._to, int) else (client,):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
        self._pass(server, client, True)

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_PIECE):
                passes = self._admit(data, answers)
                target.sendall(data[:passes])
                if passes < len(data):
                    break
            else:
                with self._lock:
                    if source in self._open:  # it was ended, and not reset by us
                        target.shutdown(socket.SHUT_WR)
                        if not answers:
                            return  # the answer may still come
        self._end(source, target)

    def _admit(self, data: bytes, answers: bool) -> int:
        """Waits as long as the line is slow, or for ever; how many of these bytes may pass."""
        with self._lock:
            if self._fault is Line.SLOW:
                self._changed.wait(self._seconds)
            while self._fault is Line.BLACK_HOLE and not self._is_stopped:
                self._changed.wait()  # its sockets are reset meanwhile
            if self._fault in (Line.RESETS, Line.REFUSES) or self._is_stopped:
                return 0
            if self._fault is not Line.CUT or not answers:
                return len(data)
            passes = min(len(data), self._left)
            self._left -= passes
            if passes < len(data):
                self._fault = Line.RESETS
            return passes

    def _end(self, *sockets: socket.socket) -> None:
        with self._lock:
            for each in sockets:
                self._open.discard(each)
                _reset(each)

    def _reset_all(self) -> None:
        for each in self._open:
            _reset(each)
        self._open.clear()


def _connect(to: int | Path) -> socket.socket:
    if isinstance(to, int):
        return socket.create_connection(("127.0.0.1", to), timeout=10)
    server = socket.socket(socket.AF_UNIX)
    try:
        server.settimeout(10)
        server.connect(str(to))
    except OSError:
        server.close()
        raise
    return server


def _reset(connection: socket.socket) -> None:
    """Ends it as a crash does: the other side is told at once, and what is on its way is lost."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)  # wakes our thread; to shut the other direction would end it in good order
    connection.close()
