"""Service connectors on the command line: credentials become secrets, `verify` logs in, and nothing shows a value."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.canary import CANARY, holds_canary
from tests.servers.openbao import OpenBaoServer

from .conftest import BIN, VALUE, CommandLine, Outcome

pytestmark = pytest.mark.transports("embedded", "server")

GROUP = "service-connector"
ADDRESS = "--vault_addr=https://vault.example.com"


def done(outcome: Outcome) -> Outcome:
    """The outcome of a command that has to succeed."""
    assert outcome.code == 0, outcome.err
    return outcome


def refused(outcome: Outcome, message: str, hint: str = "", code: int = 1) -> Outcome:
    """The outcome of a command that has to fail with one line of this text and perhaps a hint, and nothing on stdout."""
    assert outcome.code == code, outcome.err
    lines = outcome.err.splitlines()
    assert lines[0].startswith("Error: ")
    assert message in lines[0], outcome.err
    assert len(lines) <= 2, outcome.err
    assert hint in "".join(lines[1:]), outcome.err
    assert outcome.out == ""
    return outcome


def configuration(strongroom: CommandLine, name: str) -> dict[str, object]:
    """The connector's attributes as it shows them."""
    shown = done(strongroom(GROUP, "describe", name, "-o", "json"))
    assert not holds_canary(shown.out)
    return shown.data["configuration"]


def secrets(strongroom: CommandLine) -> list[str]:
    """The names of all secrets."""
    return [item["name"] for item in done(strongroom("secret", "list", "-o", "json")).data["items"]]


def value(strongroom: CommandLine, secret: str, key: str) -> str:
    """What is stored there."""
    return done(strongroom("secret", "get", secret, "--key", key)).out


@pytest.fixture
def vault(strongroom: CommandLine) -> CommandLine:
    """The command line, with a connector `vault` whose token was given in clear."""
    done(strongroom(GROUP, "register", "vault", "--type=vault", ADDRESS, f"--vault-token={VALUE}"))
    return strongroom


def test_credentials_become_a_secret(strongroom: CommandLine) -> None:
    """What is given in clear goes into the secret NAME-credentials of the workspace; the connector refers to it and shows nothing."""
    made = done(strongroom(GROUP, "register", "vault", "--type", "vault", ADDRESS, f"--vault_token={VALUE}", "-o", "json"))
    wanted = {"vault_addr": "https://vault.example.com", "vault_token": "{{vault-credentials.vault_token}}"}
    assert made.data["configuration"] == wanted == configuration(strongroom, "vault")
    assert "Its credentials are in secret 'vault-credentials'." in made.err
    assert not holds_canary(made.out)
    secret = done(strongroom("secret", "describe", "vault-credentials", "-o", "json")).data
    assert (secret["scope"], secret["keys"]) == ("workspace", ["vault_token"])
    assert secret["labels"] == {"service-connector": "vault"}
    assert value(strongroom, "vault-credentials", "vault_token") == CANARY
    for shown in (strongroom(GROUP, "list"), strongroom(GROUP, "describe", "vault"), strongroom(GROUP, "list", "-o", "yaml")):
        assert "{{vault-credentials.vault_token}}" in done(shown).out
        assert not holds_canary(shown.out)


@pytest.mark.parametrize("way", ["file", "input", "document", "document file"])
def test_ways_of_giving_credentials(strongroom: CommandLine, way: str, allow_values_in: Callable[..., None]) -> None:
    """A credential comes from a file, from standard input or in a document, also as JSON within it, and is stored as it is."""
    key = json.dumps({"type": "service_account", "private_key": f"{CANARY}\nsecond line"})
    register = [GROUP, "register", "google", "--flavor=gcp", "--auth-method=service-account"]
    path = Path("key.json")
    stdin = b""
    if way == "file":
        path.write_text(key)
        words = ["--project_id=my-project", "--service_account_json=@key.json"]
    elif way == "input":
        words, stdin = ["--project_id=my-project", "--service-account-json=-"], key.encode()
    else:
        document = json.dumps({"project-id": "my-project", "service_account_json": json.loads(key)})
        path.write_text(document)
        words = ["-v", "@key.json"]
        if way == "document":
            words, stdin = ["-v", "-"], document.encode()
    allow_values_in(path.absolute())
    done(strongroom(*register, *words, stdin=stdin))
    assert json.loads(value(strongroom, "google-credentials", "service_account_json")) == json.loads(key)
    assert configuration(strongroom, "google") == {
        "auth_method": "service-account",
        "project_id": "my-project",
        "service_account_json": "{{google-credentials.service_account_json}}",
    }


def test_references_stay(strongroom: CommandLine) -> None:
    """A credential that is a reference makes no secret; some may be references and others not."""
    done(strongroom(GROUP, "register", "a", "--type=vault", ADDRESS, "--vault_token={{ops.token}}"))
    assert secrets(strongroom) == []
    keys = ["--auth-method=iam-role", "--role_arn=arn:aws:iam::123456789012:role/x", "--aws_access_key_id={{ops.id}}"]
    done(
        strongroom(GROUP, "register", "b", "-t", "aws", *keys, "--aws-secret-access-key={{ops.key}}", f"--aws-session-token={VALUE}")
    )
    assert secrets(strongroom) == ["b-credentials"]
    shown = configuration(strongroom, "b")
    assert shown["aws_secret_access_key"] == "{{ops.key}}"
    assert shown["aws_session_token"] == "{{b-credentials.aws_session_token}}"


def test_what_is_left_in_the_secret_is_told(strongroom: CommandLine) -> None:
    """A credential that the connector refers to no more stays: others may refer to it. The command to remove it is shown."""
    keys = ["--aws_access_key_id=AKIA0", f"--aws_secret_access_key={VALUE}", f"--aws_session_token={VALUE}"]
    done(strongroom(GROUP, "register", "cloud", "--type=aws", "--auth-method=sts-token", *keys))
    less = done(strongroom(GROUP, "update", "cloud", "--auth-method=secret-key", "-r", "aws_session_token"))
    [line] = [line for line in less.err.splitlines() if "still holds" in line]
    assert "the secret 'cloud-credentials' still holds aws_session_token" in line
    command = line.rpartition(": ")[2]
    assert command == "strongroom secret update cloud-credentials -r aws_session_token"
    assert value(strongroom, "cloud-credentials", "aws_session_token") == CANARY
    done(strongroom(*command.split()[1:]))
    other = done(strongroom(GROUP, "update", "cloud", "--aws_access_key_id={{ops.id}}", "--aws_secret_access_key={{ops.key}}"))
    command = other.err.partition("unless something else refers to that: ")[2].splitlines()[0]
    assert command == "strongroom secret delete cloud-credentials"
    done(strongroom(*command.split()[1:], "-y"))
    again = done(strongroom(GROUP, "update", "cloud", f"--aws_secret_access_key={VALUE}"))
    assert "still holds" not in again.err


def test_all_or_nothing(strongroom: CommandLine) -> None:
    """When registering fails there is neither a connector nor a secret; one line says why."""
    token = f"--vault_token={VALUE}"
    for words, message, hint in (
        (["--type=vault", token], "needs the attribute vault_addr", "--vault_addr"),
        (["--type=vault", ADDRESS, token, "--vault_adr=x"], "has no attribute 'vault_adr'", "vault_addr"),
        (["--type=vault", ADDRESS, token, "--auth-method=app-role"], "has no option 'vault_token'", "app_role_id"),
        (["--type=vault", ADDRESS, token, "--auth-method=approle"], "no authentication method 'approle'", "app-role"),
        (["--type=valt", ADDRESS, token], "no service connector flavor 'valt'", "vault"),
        (["--type=vault", ADDRESS, "--vault_token={{a.}}"], "looks like a reference but is none", "{{name.key}}"),
        (["--type=vault", ADDRESS, "--vault_token=@absent"], "cannot read the file", "@@"),
        (["--type=aws", "--duration_seconds=soon"], "takes a whole number", ""),
    ):
        refused(strongroom(GROUP, "register", "c", *words), message, hint)
        assert secrets(strongroom) == []
    refused(strongroom(GROUP, "register", "a b", "--type=vault", ADDRESS, token), "the name of the service connector")
    refused(strongroom(GROUP, "register", "c", ADDRESS, token), "--type is missing", code=2)
    both = ["--auth-method=token", "-v", '{"auth_method": "token"}']
    refused(strongroom(GROUP, "register", "c", "--type=vault", ADDRESS, token, *both), "given twice", code=2)
    assert done(strongroom(GROUP, "list", "-o", "json")).data["items"] == []
    done(strongroom(GROUP, "register", "c", "--type=vault", ADDRESS, "--vault_token={{a.b}}"))
    refused(strongroom(GROUP, "register", "c", "--type=vault", ADDRESS, token), "service connector 'c' already exists", "update c")
    assert secrets(strongroom) == []


@pytest.mark.parametrize("scope", ["workspace", "user"])
def test_a_secret_of_that_name(strongroom: CommandLine, scope: str) -> None:
    """A secret NAME-credentials that is there already, also a private one, is neither used nor changed; the error says so."""
    done(strongroom("secret", "create", "vault-credentials", f"--scope={scope}", f"--other={VALUE}"))
    words = [GROUP, "register", "vault", "--type=vault", ADDRESS]
    refused(strongroom(*words, f"--vault_token={VALUE}-2"), "there is a secret 'vault-credentials' already", "rename")
    assert done(strongroom("secret", "describe", "vault-credentials", "-o", "json")).data["version"] == 1
    assert done(strongroom(GROUP, "list", "-o", "json")).data["items"] == []
    done(strongroom(*words, "--vault_token={{vault-credentials.other}}"))
    refused(strongroom(GROUP, "update", "vault", f"--vault_token={VALUE}-2"), "there is a secret 'vault-credentials' already")


def test_updates(vault: CommandLine) -> None:
    """New credentials are a new version of the same secret; other attributes do not touch it; what fails changes nothing."""
    done(vault(GROUP, "update", "vault", f"--vault_token={VALUE}-2", "--vault_namespace=team"))
    assert value(vault, "vault-credentials", "vault_token") == f"{CANARY}-2"
    done(vault(GROUP, "update", "vault", f"--vault_token={VALUE}-3"))
    done(vault(GROUP, "update", "vault", "-r", "vault-namespace"))
    assert done(vault("secret", "describe", "vault-credentials", "-o", "json")).data["version"] == 3
    refused(vault(GROUP, "update", "vault", f"--vault_token={VALUE}-4", "--auth-method=jwt"), "jwt")
    assert value(vault, "vault-credentials", "vault_token") == f"{CANARY}-3"
    change = ["--auth-method=app-role", "--app_role_id=trainer", f"--app_secret_id={VALUE}-5", "-r", "vault_token", "-o", "json"]
    changed = done(vault(GROUP, "update", "vault", *change))
    assert changed.data["configuration"]["app_secret_id"] == "{{vault-credentials.app_secret_id}}"
    assert value(vault, "vault-credentials", "app_secret_id") == f"{CANARY}-5"
    refused(vault(GROUP, "update", "vault"), "there is nothing to change", code=2)
    refused(vault(GROUP, "update", "absent", "--role=x"), "there is no service connector 'absent'")


def test_a_first_secret_by_an_update(strongroom: CommandLine) -> None:
    """A connector that referred to others' secrets gets one of its own when a credential is given in clear; not if that fails."""
    done(strongroom(GROUP, "register", "vault", "--type=vault", ADDRESS, "--vault_token={{ops.token}}"))
    refused(strongroom(GROUP, "update", "vault", f"--password={VALUE}"), "has no option 'password'")
    assert secrets(strongroom) == []
    done(strongroom(GROUP, "update", "vault", f"--vault_token={VALUE}"))
    assert secrets(strongroom) == ["vault-credentials"]
    assert configuration(strongroom, "vault")["vault_token"] == "{{vault-credentials.vault_token}}"


def test_renames(vault: CommandLine) -> None:
    """A connector with another name keeps its secret, which is still its own."""
    done(vault(GROUP, "rename", "vault", "prod"))
    done(vault(GROUP, "update", "prod", f"--vault_token={VALUE}-2"))
    assert value(vault, "vault-credentials", "vault_token") == f"{CANARY}-2"
    done(vault(GROUP, "delete", "prod", "-y", "--with-credentials"))
    assert secrets(vault) == []


def test_deletion(vault: CommandLine) -> None:
    """The secret goes along when somebody says so, and stays otherwise, with a word on it."""
    assert vault(GROUP, "delete", "vault", stdin=b"n\n").code == 1
    kept = done(vault(GROUP, "delete", "vault", stdin=b"y\nn\n"))
    assert "strongroom secret delete vault-credentials" in kept.err
    assert secrets(vault) == ["vault-credentials"]
    done(vault("secret", "delete", "vault-credentials", "-y"))
    for name, words, stdin in (("a", [], b"y\ny\n"), ("b", ["-y", "--with-credentials"], b"")):
        done(vault(GROUP, "register", name, "--type=vault", ADDRESS, f"--vault_token={VALUE}"))
        assert f"Deleted secret '{name}-credentials'." in done(vault(GROUP, "delete", name, *words, stdin=stdin)).err
        assert secrets(vault) == []
    done(vault(GROUP, "register", "c", "--type=vault", ADDRESS, f"--vault_token={VALUE}"))
    assert "secret delete c-credentials" in done(vault(GROUP, "delete", "c", "-y")).err


def test_a_secret_that_others_use_stays(vault: CommandLine) -> None:
    """A secret that another component refers to stays, whatever was said; the message names who needs it."""
    done(vault(GROUP, "register", "second", "--type=vault", ADDRESS, "--vault_token={{vault-credentials.vault_token}}"))
    kept = done(vault(GROUP, "delete", "vault", "-y", "--with-credentials"))
    assert "The secret 'vault-credentials' stays: service connector 'second' refers to it." in kept.err
    assert secrets(vault) == ["vault-credentials"]
    assert "Deleted service connector 'second'." in done(vault(GROUP, "delete", "second", "-y", "--with-credentials")).err
    assert secrets(vault) == ["vault-credentials"], "it was not made for this one"


def test_components_name_connectors(strongroom: CommandLine) -> None:
    """A stack validates and asks for what the connectors of its components refer to; a connector in use stays."""
    keys = ["--auth-method=secret-key", "--region=eu-west-1", "--aws_access_key_id=AKIA", "--aws_secret_access_key={{aws.secret}}"]
    done(strongroom(GROUP, "register", "aws", "--type=aws", *keys))
    store = ["artifact-store", "register", "bucket", "--flavor=s3", "--path=s3://bucket"]
    refused(strongroom(*store, "--connector=awz"), "names a service connector that is not there", "there are: aws")
    done(strongroom(*store, "--connector=aws"))
    done(strongroom("stack", "register", "ml", "-o", "default", "-a", "bucket", "--set"))
    checked = strongroom("stack", "validate", "-o", "json")
    assert checked.code == 1
    assert [(row["owner"], row["attribute"]) for row in checked.data["problems"]] == [
        ("service connector 'aws'", "aws_secret_access_key")
    ]
    done(strongroom("stack", "register-secrets", stdin=f"{VALUE}\n".encode()))
    assert value(strongroom, "aws", "secret") == CANARY
    done(strongroom("stack", "validate"))
    described = done(strongroom("stack", "describe", "-o", "json")).data
    assert [item["name"] for item in described["connectors"]] == ["aws"]
    assert "service connector" in done(strongroom("stack", "describe")).out
    refused(strongroom(GROUP, "delete", "aws", "-y"), "cannot be deleted: it is named by artifact store 'bucket'")
    refused(strongroom(GROUP, "rename", "aws", "b"), "cannot be renamed: it is named by artifact store 'bucket'")


# Logging in.


def test_verify(strongroom: CommandLine, openbao: OpenBaoServer) -> None:
    """`verify` logs in from here and says as whom; a refusal, a missing secret and silence are one clear line each."""
    name = f"user-{uuid.uuid4().hex}"
    openbao.admin.sys.enable_auth_method("userpass", path=name)
    openbao.admin.auth.userpass.create_or_update_user("trainer", CANARY, mount_point=name)
    words = ["--auth-method=userpass", "--username=trainer", f"--auth_mount_point={name}", f"--vault_addr={openbao.url}"]
    done(strongroom(GROUP, "register", "vault", "--type=vault", *words, f"--password={VALUE}"))
    assert done(strongroom(GROUP, "verify", "vault")).out == f"{name}-trainer with the policies default\n"
    shown = done(strongroom(GROUP, "verify", "vault", "-o", "json")).data
    assert shown == {"name": "vault", "type": "vault", "identity": f"{name}-trainer with the policies default"}
    done(strongroom(GROUP, "update", "vault", f"--password={VALUE}-wrong"))
    refused(strongroom(GROUP, "verify", "vault"), "refuses the login by userpass", "check the credential")
    done(strongroom("secret", "update", "vault-credentials", "-r", "password", "--other=x"))
    refused(
        strongroom(GROUP, "verify", "vault"),
        "{{vault-credentials.password}} (service connector 'vault', password) has no value: secret 'vault-credentials' has no key",
    )
    done(strongroom(GROUP, "update", "vault", f"--password={VALUE}", "--vault_addr=http://127.0.0.1:1"))
    refused(strongroom(GROUP, "verify", "vault"), "Vault at http://127.0.0.1:1 is out of reach")
    refused(strongroom(GROUP, "verify", "absent"), "there is no service connector 'absent'")


# At a terminal.


@pytest.fixture
def terminal() -> Iterator[Callable[..., pexpect.spawn]]:
    """Starts `strongroom` on a pseudo-terminal."""
    started: list[pexpect.spawn] = []

    def start(*arguments: str) -> pexpect.spawn:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
        child = pexpect.spawn(str(BIN / "strongroom"), list(arguments), env=environment, encoding="utf-8", timeout=30)
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


def test_questions(terminal: Callable[..., pexpect.spawn], strongroom: CommandLine) -> None:
    """`-i` asks for the method and for what it needs, hidden where it is a credential; `update -i` for credentials alone."""
    child = terminal(GROUP, "register", "vault", "--type=vault", "-i", ADDRESS)
    child.expect("Authentication method: token, app-role")
    child.sendline("app-role")
    child.expect("Value of 'app_role_id'")
    child.sendline("")
    child.expect("it is needed")
    child.expect("Value of 'app_role_id'")
    child.sendline("trainer")
    child.expect("Value of 'app_secret_id' .hidden.")
    child.sendline("typed-in-the-dark")
    child.expect("Registered service connector")
    child.expect(pexpect.EOF)
    assert "typed-in-the-dark" not in child.before
    assert value(strongroom, "vault-credentials", "app_secret_id") == "typed-in-the-dark"
    child = terminal(GROUP, "update", "vault", "-i")
    child.expect("Value of 'app_secret_id' .hidden, Enter keeps it.")
    child.sendline("the-next-one")
    child.expect("Updated service connector")
    child.expect(pexpect.EOF)
    assert value(strongroom, "vault-credentials", "app_secret_id") == "the-next-one"


def test_answers_from_a_script(strongroom: CommandLine) -> None:
    """Where there is no terminal, answers come line by line; the default method is that of an empty one."""
    done(strongroom(GROUP, "register", "vault", "--type=vault", "-i", ADDRESS, stdin=f"\n{VALUE}\n".encode()))
    assert configuration(strongroom, "vault")["auth_method"] == "token"
    assert value(strongroom, "vault-credentials", "vault_token") == CANARY
    keys = ["--auth-method=iam-role", "--aws_access_key_id=AKIA"]
    cut_off = strongroom(GROUP, "register", "aws", "--type=aws", "-i", *keys, stdin=f"{VALUE}\n".encode())
    assert (cut_off.code, cut_off.err.splitlines()[-1]) == (1, "Error: cancelled; nothing was changed")
    assert secrets(strongroom) == ["vault-credentials"]
    done(
        strongroom(
            GROUP, "register", "aws", "--type=aws", "-i", *keys, stdin=f"{VALUE}\n\narn:aws:iam::123456789012:role/x\n".encode()
        )
    )
    assert "aws_session_token" not in configuration(strongroom, "aws")


def test_completion(vault: CommandLine, process: CommandLine) -> None:
    """Names of connectors complete."""
    words = "strongroom service-connector verify va"
    out = process(_STRONGROOM_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="3").out
    assert out.split() == ["plain,vault"]
