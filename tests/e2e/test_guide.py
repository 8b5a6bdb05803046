"""The commands and code of the guide to secrets management that concern the centralized store, with placeholders filled in.

The commands are those of the existing system's guide, with `strongroom` in place of its name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from .conftest import BIN, CommandLine

pytestmark = pytest.mark.transports("embedded", "server")


def shell(script: str) -> str:
    """Runs a block as it stands in the guide, in bash."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(script: str) -> str:
    """Runs code as it stands in the guide."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def values(strongroom: CommandLine, name: str, *options: str) -> dict[str, str]:
    return strongroom("secret", "get", name, "-o", "json", *options).data["values"]


def test_create_with_pairs(strongroom: CommandLine) -> None:
    """How to create a secret with the CLI: keys and values as options, over several lines."""
    shell("""strongroom secret create aws_account \\
    --access_key=AKIA1 \\
    --secret_key=abc123
""")
    assert values(strongroom, "aws_account") == {"access_key": "AKIA1", "secret_key": "abc123"}


@pytest.mark.parametrize("flag", ["-i", "--interactive"])
def test_create_interactively(strongroom: CommandLine, flag: str) -> None:
    """Both spellings ask for keys and values."""
    child = pexpect.spawn(str(BIN / "strongroom"), ["secret", "create", "asked", flag], encoding="utf-8", timeout=30)
    for question, answer in (("Key", "user"), ("Value", "admin"), ("Another", "n")):
        child.expect(question)
        child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert values(strongroom, "asked") == {"user": "admin"}


def test_create_from_a_file(strongroom: CommandLine) -> None:
    """The special `@` syntax reads a value from a file, whatever characters it has."""
    content = "-----BEGIN KEY-----\n'\"$`\\ {}\n-----END KEY-----\n"
    Path("path/to").mkdir(parents=True)
    Path("path/to/file.txt").write_text(content)
    shell("""strongroom secret create from_file \\
   --key=@path/to/file.txt \\
   --other=plain
""")
    assert values(strongroom, "from_file") == {"key": content, "other": "plain"}


def test_list_update_delete(strongroom: CommandLine) -> None:
    """The CLI also lists, updates and deletes."""
    shell("strongroom secret create s --a=1; strongroom secret update s --a=2")
    assert "s " in shell("strongroom secret list")
    assert values(strongroom, "s") == {"a": "2"}
    shell("strongroom secret delete s -y")
    assert strongroom("secret", "get", "s").code == 1


def test_client_api(strongroom: CommandLine) -> None:
    """How to create a secret with the Client API, and the other methods that the guide names."""
    python("""
from strongroom.client import Client

client = Client()
client.create_secret(
    name = "my_secret",
    values = {
        "username": "admin",
        "password": "abc123"
    }
)
secret_id = client.get_secret("my_secret").id
assert client.get_secret(secret_id).secret_values == {"username": "admin", "password": "abc123"}
client.update_secret("my_secret", add_or_update_values={"password": "new"})
assert [secret.name for secret in client.list_secrets(name="startswith:my", sort_by="desc:created")] == ["my_secret"]
""")
    assert values(strongroom, "my_secret") == {"username": "admin", "password": "new"}
    python("from strongroom.client import Client; Client().delete_secret('my_secret')")
    assert strongroom("secret", "get", "my_secret").code == 1


def test_scopes(strongroom: CommandLine) -> None:
    """Secrets scoping: `--scope user` makes a private one, and a name is looked up there first."""
    shell("strongroom secret create s --k=workspace")
    shell("""strongroom secret create s \\
    --scope user \\
    --k=mine \\
    --l=2
""")
    assert values(strongroom, "s") == {"k": "mine", "l": "2"}
    assert values(strongroom, "s", "--scope", "workspace") == {"k": "workspace"}
    shell("strongroom secret delete s --scope user -y")
    assert values(strongroom, "s") == {"k": "workspace"}


def test_secret_for_a_tracker(strongroom: CommandLine) -> None:
    """The secret of the guide's example on references."""
    shell("""# Using central secrets management
strongroom secret create mlflow_secret \\
    --username=admin \\
    --password=abc123
""")
    assert values(strongroom, "mlflow_secret")["username"] == "admin"


def test_fetch_in_a_function(strongroom: CommandLine) -> None:
    """Fetching values: a function gets the secret and logs in with them."""
    shell("strongroom secret create api --username=admin --password=abc123")
    out = python('''
from strongroom.client import Client

def authenticate_to_some_api(username, password):
    print(username, len(password))

def secret_loader() -> None:
    """Load the example secret from the server."""
    secret = Client().get_secret("api")

    # `secret.secret_values` will contain a dictionary with all key-value
    # pairs within your secret.
    authenticate_to_some_api(
        username = secret.secret_values["username"],
        password = secret.secret_values["password"],
    )

secret_loader()
''')
    assert out == "admin 6\n"


def test_reference_secrets_in_attributes(strongroom: CommandLine) -> None:
    """How to reference secrets in a component's attributes: the guide's two commands, with braces that bash leaves alone."""
    shell("""# Using central secrets management
strongroom secret create mlflow_secret \\
    --username=admin \\
    --password=abc123

# Then reference the username and password in our experiment tracker component
strongroom experiment-tracker register mlflow \\
    --flavor=mlflow \\
    --tracking_username={{mlflow_secret.username}} \\
    --tracking_password={{mlflow_secret.password}} \\
    --tracking_uri=http://localhost:5000
""")
    assert strongroom("experiment-tracker", "describe", "mlflow", "-o", "json").data["configuration"] == {
        "tracking_uri": "http://localhost:5000",
        "tracking_username": "{{mlflow_secret.username}}",
        "tracking_password": "{{mlflow_secret.password}}",
    }
    shell("strongroom stack register ml -o default -a default -e mlflow --set")
    out = python("""
from strongroom.client import Client

config = Client().active_stack.experiment_tracker.config
print(config.tracking_username, len(config.tracking_password))
""")
    assert out == "admin 6\n"


@pytest.mark.parametrize(
    ("level", "without_secret", "without_key"),
    [("NONE", 0, 0), ("SECRET_EXISTS", 1, 0), ("SECRET_AND_KEY_EXISTS", 1, 1), ("", 1, 1), ("bogus", 1, 1)],
)
def test_levels_of_validation(process: CommandLine, level: str, without_secret: int, without_key: int) -> None:
    """The guide's environment variable says how much is validated; by default everything is. Another level is an error."""
    shell("""strongroom experiment-tracker register mlflow --flavor=mlflow \\
    --tracking_username={{mlflow_secret.username}} --tracking_password={{mlflow_secret.password}}
strongroom stack register ml -o default -a default -e mlflow --set
""")

    def validate() -> int:
        return process("stack", "validate", STRONGROOM_SECRET_VALIDATION_LEVEL=level).code

    assert validate() == without_secret
    shell("strongroom secret create mlflow_secret --username=admin")
    assert validate() == without_key
    shell("strongroom secret update mlflow_secret --password=abc123")
    assert validate() == (1 if level == "bogus" else 0)
