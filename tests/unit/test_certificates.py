"""Bundles of certificates as people put them together, in TLS handshakes with a real server."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import trustme

from strongroom.certificates import certificate_file, extract_certificates, read_certificates
from strongroom.client.transports.remote import RemoteTransport
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.vault import VaultConnection
from strongroom.connectors.vault_methods import TokenMethod
from strongroom.errors import ConfigurationError, ServerUnknown
from strongroom.models.user import WhoAmI
from strongroom.operations import user as of_user
from strongroom.pipelines.orchestrators.dask import DaskOrchestrator
from strongroom.redaction import SecretText

OTHER = trustme.CA().cert_pem.bytes().decode()
BUNDLES: dict[str, Callable[[str], bytes]] = {
    "plain": lambda pem: pem.encode(),
    "BOM": lambda pem: b"\xef\xbb\xbf" + pem.encode(),
    "comments": lambda pem: f"# Zertifizierungsstelle Köln – 東京\n{pem}# Ende ✓\n".encode(),
    "BOM and comments": lambda pem: b"\xef\xbb\xbf" + f"Größe\n{pem}".encode(),
    "latin-1": lambda pem: f"# Größe, résumé\n{pem}".encode("latin-1"),
    "Windows": lambda pem: b"\xef\xbb\xbf" + pem.replace("\n", "\r\n").encode(),
    "UTF-16": lambda pem: pem.encode("utf-16"),
    "several": lambda pem: f"größer\n{OTHER}\nsubject=CN = Ö\n{pem}".encode(),
    "BOM inside": lambda pem: f"{OTHER}\ufeff{pem}".encode(),
    "BOM and several": lambda pem: b"\xef\xbb\xbf" + f"{OTHER}\ufeff{pem}".encode(),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Something that is no strongroom and no Vault."""
        self.send_response(404)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The authority of the server's certificate."""
    return trustme.CA()


@pytest.fixture(scope="module")
def port(authority: trustme.CA) -> Iterator[int]:
    """A server that speaks TLS on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(params=BUNDLES)
def bundle(request: pytest.FixtureRequest, authority: trustme.CA, tmp_path: Path) -> Path:
    """A file with the authority's certificate, written in one of these ways."""
    file = tmp_path / "ca.pem"
    file.write_bytes(BUNDLES[request.param](authority.cert_pem.bytes().decode()))
    return file


def reaches(transport: RemoteTransport) -> None:
    """Checks that the server has proved who it is: what it answers is not ours."""
    with pytest.raises(ServerUnknown, match="is no strongroom server"):
        transport.call(of_user.WHO_AM_I, WhoAmI())
    transport.close()


def test_clients_trust_it(bundle: Path, port: int) -> None:
    """As a file, and as the text that is passed on to the workers of a cluster."""
    url = f"https://127.0.0.1:{port}"
    transport = RemoteTransport(url, lambda: SecretText("x"), ca_cert=bundle, wait_seconds=0)
    assert transport.certificates is not None
    assert transport.certificates.isascii()
    for given in (bundle, transport.certificates, bundle.read_bytes().decode("utf-8", "surrogateescape")):
        if isinstance(given, str) and "BEGIN" not in given:
            continue  # UTF-16
        reaches(RemoteTransport(url, lambda: SecretText("x"), ca_cert=given, wait_seconds=0))


def test_secrets_stores_trust_it(bundle: Path, port: int) -> None:
    """Libraries that take a file get one that they understand."""
    usable = certificate_file(str(bundle))
    assert usable is not None
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"https://127.0.0.1:{port}", context=ssl.create_default_context(cafile=usable), timeout=10)
    vault = VaultConnection(f"https://127.0.0.1:{port}", TokenMethod(vault_token=SecretText("x")), ca_cert=str(bundle))
    assert vault.ask("get", "x", Deadline(10), right="read").status == 404
    vault.close()


def test_clusters_trust_it(bundle: Path) -> None:
    """Dask takes a file, or the text itself."""
    for given in (str(bundle), bundle.read_bytes().decode("utf-8", "replace")):
        if "BEGIN" not in given and given != str(bundle):
            continue  # UTF-16
        orchestrator = DaskOrchestrator.__new__(DaskOrchestrator)
        orchestrator.config = SimpleNamespace(ca_cert=given)  # type: ignore[assignment]
        loaded = orchestrator._authorities()
        assert loaded is not None
        context = ssl.create_default_context(**{"cadata" if "\n" in loaded else "cafile": loaded})
        assert context.get_ca_certs()


@pytest.mark.parametrize(
    "content", [b"", b"\xef\xbb\xbf", b"no certificate", b"-----BEGIN CERTIFICATE-----\nab", "ä".encode("utf-16")]
)
def test_files_without_certificates(content: bytes, tmp_path: Path) -> None:
    """Are refused in words."""
    file = tmp_path / "ca.pem"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="no certificates"):
        read_certificates(file)
    with pytest.raises(ConfigurationError, match="CA_CERT cannot be read"):
        RemoteTransport("https://127.0.0.1:9", lambda: SecretText("x"), ca_cert=file, wait_seconds=0).call(of_user.WHO_AM_I, WhoAmI())
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigurationError, match="there is no file of certificates"):
            certificate_file(str(path))


def test_nothing_but_certificates_is_passed_on(authority: trustme.CA) -> None:
    """A key that lies in the same file stays where it is."""
    leaf = authority.issue_cert("x")
    text = leaf.private_key_and_cert_chain_pem.bytes().decode()
    assert "PRIVATE KEY" in text
    assert "PRIVATE KEY" not in extract_certificates(text)


def test_copies_are_removed_by_the_process_that_made_them(tmp_path: Path) -> None:
    """A forked child that ends does not take the file away from its parent."""
    file = tmp_path / "ca.pem"
    file.write_bytes(b"\xef\xbb\xbf" + OTHER.encode())
    program = f"""if True:
        import os, sys
        from strongroom.certificates import certificate_file
        copy = certificate_file({str(file)!r})
        child = os.fork()
        if child == 0:
            sys.exit(0)
        os.waitpid(child, 0)
        assert os.path.exists(copy)
        print(copy)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not Path(done.stdout.strip()).exists()
