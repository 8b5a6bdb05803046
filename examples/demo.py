"""The journey of a few credentials: from the files in which teams find them, through the command line, into a Python function.

Works on a store of its own in a temporary folder, which it removes at the end. Run it with `make demo`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

STRONGROOM = Path(sys.executable).with_name("strongroom")


def say(text: str) -> None:
    """A paragraph of the story."""
    print(f"\n# {text}", flush=True)


def run(command: str, *, fails: bool = False) -> None:
    """Shows a command and runs it."""
    print(f"$ {command}", flush=True)
    words = shlex.split(command)
    done = subprocess.run([str(STRONGROOM), *words[1:]], check=False, stdin=subprocess.DEVNULL)
    if (done.returncode != 0) is not fails:
        sys.exit(f"the command ended with {done.returncode}")


def write_credentials(folder: Path) -> ec.EllipticCurvePublicKey:
    """Writes the files of the story: a fresh private key, a service account with it, a `.env` file. Returns the public key."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    (folder / "signing-key.pem").write_text(pem)
    account = {"type": "service_account", "project_id": "demo", "client_email": "trainer@demo.example", "private_key": pem}
    (folder / "service-account.json").write_text(json.dumps(account, indent=2))
    (folder / "tracking.env").write_text("MLFLOW_TRACKING_USERNAME=admin\nMLFLOW_TRACKING_PASSWORD='abc $123'\n")
    return private.public_key()


def sign_model(model: bytes) -> bytes:
    """What a step of a pipeline would do: fetch a credential by name and use it. No secret stands in the code."""
    from strongroom.client import Client

    secret = Client().get_secret("signing")
    key = serialization.load_pem_private_key(secret.secret_values["key"].encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.sign(model, ec.ECDSA(hashes.SHA256()))


def main() -> None:
    """Tells the story."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="strongroom-demo-") as name:
        folder = Path(name)
        os.environ["STRONGROOM_CONFIG_PATH"] = str(folder / "store")
        os.chdir(folder)
        public_key = write_credentials(folder)

        say("A team has credentials in files. Each becomes a secret, once; the files can go.")
        run("strongroom secret create signing --key=@signing-key.pem --label team=vision")
        run("strongroom secret create warehouse -v @service-account.json")
        run("strongroom secret create tracking --from-env-file tracking.env")

        say("The name is taken now, and a mistake says what to do.")
        run("strongroom secret create tracking --user=somebody", fails=True)
        run("strongroom secret get trackin", fails=True)

        say("Lists and descriptions show names and keys, never a value.")
        run("strongroom secret list")
        run("strongroom secret describe warehouse")

        say("Values are read one by one, for programs and for people.")
        run("strongroom secret get tracking --key MLFLOW_TRACKING_USERNAME")
        print()

        say("A change makes a new version; the old one stays, and coming back is one command.")
        run("strongroom secret update tracking --MLFLOW_TRACKING_PASSWORD=rotated")
        run("strongroom secret history tracking")
        run("strongroom secret rollback tracking --to-version 1")

        say("In Python a function asks for the secret by name. This one signs a model with the key of the PEM file.")
        print('>>> Client().get_secret("signing").secret_values["key"]')
        model = b"weights"
        signature = sign_model(model)
        public_key.verify(signature, model, ec.ECDSA(hashes.SHA256()))  # raises if it is not the same key
        print(f"signed {len(model)} bytes; the signature ({len(signature)} bytes) fits the public key of the file")

        say("On disk there is ciphertext only, and the key that opens it can be replaced while everybody works.")
        run("strongroom server rotate-key")
        database = b"".join(path.read_bytes() for path in (folder / "store").glob("strongroom.db*"))
        found = [word for word in (b"BEGIN PRIVATE KEY", b"abc $123", b"rotated", b"trainer@demo") if word in database]
        assert not found, "a value lies in the database in clear"
        print(f"searched {len(database)} bytes of the database for four of the values: none found")
    say(f"Done in {time.monotonic() - started:.1f} s. The store of this demo is gone again; yours starts with your first command.")


if __name__ == "__main__":
    main()
