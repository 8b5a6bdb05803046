"""The line fails as it is told to, and is well again afterwards."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.fakes.line import FaultyLine, Line


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that gives back twice what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1000):
                    connection.sendall(data * 2)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def line(echo: int) -> Iterator[FaultyLine]:
    line = FaultyLine(echo)
    yield line
    line.stop()


def ask(line: FaultyLine, text: bytes = b"ab", seconds: float = 10) -> bytes:
    """What comes back until nothing more does."""
    with socket.create_connection(("127.0.0.1", line.port), timeout=seconds) as connection:
        connection.sendall(text)
        answer = b""
        while len(answer) < 2 * len(text) and (data := connection.recv(1000)):
            answer += data
        return answer


def test_a_line_that_is_well(line: FaultyLine) -> None:
    """Bytes pass both ways."""
    assert ask(line) == b"abab"
    assert line.connections == 1


def test_a_slow_line(line: FaultyLine) -> None:
    """Each piece comes late."""
    line.set(Line.SLOW, seconds=0.1)
    began = time.monotonic()
    assert ask(line) == b"abab"
    assert time.monotonic() - began >= 0.2


def test_a_black_hole(line: FaultyLine) -> None:
    """Nothing arrives, and nobody is told; when the line is well again, what it swallowed stays lost."""
    line.set(Line.BLACK_HOLE)
    with pytest.raises(TimeoutError):
        ask(line, seconds=0.2)
    with socket.create_connection(("127.0.0.1", line.port), timeout=10) as connection:
        connection.sendall(b"ab")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        line.set(Line.WELL)
        connection.settimeout(10)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert ask(line) == b"abab"


@pytest.mark.parametrize("fault", [Line.RESETS, Line.REFUSES])
def test_lines_that_break(line: FaultyLine, fault: Line) -> None:
    """What is open is reset, new connections too or not taken at all; then it is well again at the same port."""
    with socket.create_connection(("127.0.0.1", line.port), timeout=10) as connection:
        connection.sendall(b"ab")
        assert connection.recv(4, socket.MSG_WAITALL) == b"abab"
        line.set(fault)
        with pytest.raises(ConnectionError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError if fault is Line.REFUSES else ConnectionError):
        ask(line)
    line.set(Line.WELL)
    assert ask(line) == b"abab"


def test_a_line_that_is_cut(line: FaultyLine) -> None:
    """After so many bytes of answers, in the midst of one, it is reset, and stays so until it is set anew."""
    line.set(Line.CUT, after_bytes=5)
    assert ask(line) == b"abab"
    with pytest.raises(ConnectionError):
        assert ask(line) == b"a"
    with pytest.raises(ConnectionError):
        ask(line)
    line.set(Line.WELL)
    assert ask(line) == b"abab"
