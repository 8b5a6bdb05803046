"""A forward proxy as companies have it: `CONNECT` for TLS, whole URLs for plain HTTP, and a password."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import quote, urlsplit


class Proxy:
    """Passes requests on, as long as the password is right. `seen` are their first lines; `names` are hosts that it alone knows."""

    def __init__(self, username: str, password: str) -> None:
        self.seen: list[str] = []
        self.names: dict[str, str] = {}
        wanted = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        proxy = self

        class Handler(StreamRequestHandler):
            timeout = 30

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    self._handle()

            def _handle(self) -> None:
                lines = []
                while line := self.rfile.readline().strip():
                    lines.append(line.decode())
                headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines[1:])}
                if headers.pop("proxy-authorization", "") != wanted:
                    self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    return
                proxy.seen.append(lines[0])
                method, target, _ = lines[0].split()
                url = urlsplit(f"//{target}" if method == "CONNECT" else target)
                with socket.create_connection((proxy.names.get(url.hostname or "", url.hostname), url.port), timeout=30) as server:
                    if method == "CONNECT":
                        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                        _pass(self.connection, server)
                        return
                    headers["connection"] = "close"
                    head = [f"{method} {url.path}?{url.query} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
                    server.sendall("\r\n".join([*head, "", ""]).encode())
                    server.sendall(self.rfile.read(int(headers.get("content-length", "0"))))
                    while part := server.recv(65_536):
                        self.wfile.write(part)

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{username}:{quote(password, safe='')}@{self.address}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Closes the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _pass(one: socket.socket, other: socket.socket) -> None:
    """Passes bytes both ways until one side has ended."""
    while True:
        for ready in select.select([one, other], [], [], 30)[0]:
            part = ready.recv(65_536)
            if not part:
                return
            (other if ready is one else one).sendall(part)
