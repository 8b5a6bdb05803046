"""The journey of a few credentials: from the files in which teams find them, through a stack that refers to them, into the steps of
a pipeline.

Works on a store of its own in a temporary folder, which it removes at the end. Run it with `make demo`.
"""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

STRONGROOM = Path(sys.executable).with_name("strongroom")
PASSWORD = "abc $123"


def say(text: str) -> None:
    """A paragraph of the story."""
    print(f"\n# {text}", flush=True)


def run(command: str, *, answers: str = "", fails: bool = False) -> None:
    """Shows a command and runs it."""
    print(f"$ {command}", flush=True)
    words = shlex.split(command)
    done = subprocess.run([str(STRONGROOM), *words[1:]], check=False, input=answers.encode())
    if (done.returncode != 0) is not fails:
        sys.exit(f"the command ended with {done.returncode}")


def write_credentials(folder: Path) -> ec.EllipticCurvePublicKey:
    """Writes the files of the story: a fresh private key, a `.env` file. Returns the public key."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    (folder / "signing-key.pem").write_text(pem)
    (folder / "tracking.env").write_text(f"username=admin\npassword='{PASSWORD}'\n")
    return private.public_key()


@contextmanager
def tracking_server() -> Iterator[tuple[str, list[str]]]:
    """A small server on loopback that takes metrics from whoever knows the password. Gives its address and what it took."""
    login = f"Basic {base64.b64encode(f'admin:{PASSWORD}'.encode()).decode()}"
    taken: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            allowed = self.headers.get("Authorization") == login
            if allowed:
                taken.append(body.decode())
            self.send_response(200 if allowed else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        server.server_close()


def search(folder: Path, words: list[bytes]) -> int:
    """Makes sure that none of the words is in a file below the folder; how many bytes were searched."""
    content = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert not [word for word in words if word in content], "a value lies in a file in clear"
    return len(content)


def main() -> None:
    """Tells the story."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="strongroom-demo-") as name, tracking_server() as (address, metrics):
        folder = Path(name)
        os.environ["STRONGROOM_CONFIG_PATH"] = str(folder / "store")
        os.chdir(folder)
        public_key = write_credentials(folder)

        say("A team has credentials in files. Each becomes a secret, once; the files can go.")
        run("strongroom secret create signing --key=@signing-key.pem --label team=vision")
        run("strongroom secret create tracking --from-env-file tracking.env")
        run("strongroom secret list")

        say("Components refer to secrets, they do not contain them. Together they are a stack.")
        run(
            f"strongroom experiment-tracker register tracker --flavor=mlflow --tracking_uri={address} "
            "--tracking_username={{tracking.user}} --tracking_password={{tracking.password}}"
        )
        run(
            "strongroom container-registry register images --flavor=default --uri=registry.example.com/vision "
            "--username={{registry.user}} --password={{registry.token}}"
        )
        run("strongroom stack register vision -o default -a default -e tracker -c images --set")

        say("Validation names everything that is missing, at once, and reads no value to find out.")
        run("strongroom stack validate", fails=True)

        say("One mistake is mended, what is missing is asked for (hidden, at a terminal); now the stack is valid.")
        run("strongroom experiment-tracker update tracker '--tracking_username={{tracking.username}}'")
        run("strongroom stack register-secrets --skip-existing", answers="robot\nr0bot-token\n")
        run("strongroom stack validate")

        say("A pipeline runs on it: its steps log in to the tracker, and sign the model with the key of the PEM file.")
        print(">>> training(rows=9)", flush=True)
        from training import training

        result = training(rows=9)
        model, signature = result.output("train"), result.output("sign")
        public_key.verify(signature, model, ec.ECDSA(hashes.SHA256()))  # raises if it is not the same key
        print(f"the tracker took {metrics[0]}; the signature ({len(signature)} bytes) fits the public key of the file")

        say("The record says what happened, and which step read which version of which secret. It has no value.")
        run(f"strongroom run describe {result.name}")
        run("strongroom secret usage signing")

        say("A change makes a new version; the old one stays, and coming back is one command.")
        run("strongroom secret update tracking --password=rotated")
        run("strongroom secret rollback tracking --to-version 1")

        say("On disk there is ciphertext only, and the key that opens it can be replaced while everybody works.")
        run("strongroom server rotate-key")
        values = [b"BEGIN PRIVATE KEY", PASSWORD.encode(), b"rotated", b"r0bot-token"]
        print(f"searched {search(folder / 'store', values)} bytes of database and artifacts for four of the values: none found")
    say(f"Done in {time.monotonic() - started:.1f} s. The store of this demo is gone again; yours starts with your first command.")


if __name__ == "__main__":
    main()
