"""Components, stacks, validation, missing secrets and the records of runs, on the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from strongroom.cli.main import COMPONENT_GROUPS
from strongroom.client import Client
from strongroom.models.reference import Reference
from strongroom.models.run import ArtifactRecord, CreateRun, PlannedStep, RunStatus, SecretRead
from tests.canary import CANARY, holds_canary

from .conftest import BIN, VALUE, CommandLine, Outcome

pytestmark = pytest.mark.transports("embedded", "server")

HIDDEN = "typed-in-the-dark"
PLAIN = "plain-password-1"  # of an attribute: stored as it is, so no canary
FLAVORS = '''
from strongroom.stacks import Alerter, Attribute, ModelDeployer, StepOperator
from strongroom.stacks.orchestrator import Orchestrator

class Pager(Alerter):
    """Sends pages."""
    flavor = "own"
    attributes = (Attribute("uri", default=None), Attribute("token", default=None, sensitive=True))
    def post(self, message): pass

class Deployer(ModelDeployer):
    flavor = "own"
    attributes = Pager.attributes

class Operator(StepOperator):
    flavor = "own"
    attributes = Pager.attributes

class Conductor(Orchestrator):
    flavor = "own"
    attributes = Pager.attributes
    def execute(self, tasks, run_step): pass
'''


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


def done(outcome: Outcome) -> Outcome:
    """The outcome of a command that has to succeed."""
    assert outcome.code == 0, outcome.err
    return outcome


def refused(outcome: Outcome, code: int, message: str) -> Outcome:
    """The outcome of a command that has to fail with one line of this text and perhaps a hint, and nothing on stdout."""
    assert outcome.code == code, outcome.err
    lines = outcome.err.splitlines()
    assert len(lines) <= 2, outcome.err
    assert lines[0].startswith("Error: ")
    assert message in lines[0], outcome.err
    assert all(line.startswith("hint: ") for line in lines[1:]), outcome.err
    assert outcome.out == ""
    return outcome


@pytest.fixture
def ml(strongroom: CommandLine) -> CommandLine:
    """The command line, with an active stack `ml` whose tracker refers to two keys of a secret and one of another."""
    done(
        strongroom(
            "experiment-tracker",
            "register",
            "tracker",
            "--flavor=mlflow",
            "--tracking_username={{ml.user}}",
            "--tracking_password={{ ml.password }}",
        )
    )
    done(
        strongroom(
            "artifact-store", "register", "bucket", "--flavor=s3", "--path=s3://bucket", '--options={"client": ["{{s3.token}}"]}'
        )
    )
    done(strongroom("stack", "register", "ml", "-o", "default", "-a", "bucket", "-e", "tracker", "--set"))
    return strongroom


# Every type of component has the same commands.


@pytest.mark.parametrize(
    ("group", "flavor", "attribute"),
    [
        ("alerter", "slack", "--channel=c"),
        ("artifact-store", "fsspec", "--path=memory://x"),
        ("container-registry", "default", "--uri=registry.example.com"),
        ("experiment-tracker", "wandb", "--entity=me"),
        ("model-registry", "mlflow", "--tracking-uri=http://x"),
    ],
)
def test_built_in_flavors(strongroom: CommandLine, group: str, flavor: str, attribute: str) -> None:
    """Components are registered, listed, described, changed, renamed and deleted in the group of their type."""
    words = group.replace("-", " ")
    before = strongroom(group, "list", "-o", "json").data["total"]
    name, value = attribute.removeprefix("--").replace("-", "_").split("=")
    shown = done(strongroom(group, "register", "mine", f"--flavor={flavor}", attribute, "-o", "json"))
    assert shown.data["configuration"] == {name: value}
    assert f"Registered {words} 'mine' of the flavor '{flavor}'." in shown.err
    described = done(strongroom(group, "describe", "mine", "-o", "json")).data
    assert (described["name"], described["flavor"], described["type"]) == ("mine", flavor, group.replace("-", "_"))
    assert value in done(strongroom(group, "describe", "mine")).out
    listed = done(strongroom(group, "list", "--name", "startswith:mi", "--flavor", flavor, "-o", "json")).data
    assert [item["name"] for item in listed["items"]] == ["mine"]
    assert value in done(strongroom(group, "list")).out
    assert done(strongroom(group, "update", "mine", f"--{name}=other", "--output=yaml")).out.count("other") == 1
    assert done(strongroom(group, "rename", "mine", "yours", "-o", "json")).data["configuration"] == {name: "other"}
    refused(strongroom(group, "describe", "mine"), 1, f"there is no {words} 'mine'")
    assert strongroom(group, "delete", "yours", stdin=b"n\n").code == 1
    done(strongroom(group, "delete", "yours", "-y"))
    assert strongroom(group, "list", "-o", "json").data["total"] == before


@pytest.mark.parametrize(
    ("group", "class_name"),
    [("alerter", "Pager"), ("model-deployer", "Deployer"), ("step-operator", "Operator"), ("orchestrator", "Conductor")],
)
def test_own_flavors(strongroom: CommandLine, monkeypatch: pytest.MonkeyPatch, group: str, class_name: str) -> None:
    """A class in the working folder becomes a flavor; it is listed, described, used, and forgotten when nothing uses it."""
    Path("my_flavors.py").write_text(FLAVORS)
    monkeypatch.delitem(sys.modules, "my_flavors", raising=False)
    words = group.replace("-", " ")
    made = done(strongroom(group, "flavor", "register", f"my_flavors:{class_name}", "-o", "json"))
    assert made.data["source"] == f"my_flavors:{class_name}"
    assert f"Registered the {words} flavor 'own'." in made.err
    assert f"my_flavors:{class_name}" in done(strongroom(group, "flavor", "list")).out
    described = done(strongroom(group, "flavor", "describe", "own", "-o", "json")).data
    assert [item["name"] for item in described["attributes"]] == ["uri", "token"]
    assert "sensitive" in done(strongroom(group, "flavor", "describe", "own")).out.lower()
    done(strongroom(group, "register", "mine", "-f", "own", "--uri=x", "--token={{a.b}}"))
    refused(strongroom(group, "flavor", "delete", "own", "-y"), 1, "is used by: mine")
    done(strongroom(group, "delete", "mine", "-y"))
    done(strongroom(group, "flavor", "delete", "own", "-y"))
    refused(strongroom(group, "flavor", "describe", "own"), 1, f"there is no {words} flavor 'own'")
    other = "alerter" if group != "alerter" else "orchestrator"
    wrong = refused(strongroom(other, "flavor", "register", f"my_flavors:{class_name}"), 1, f"this class is a {words}, not a")
    assert f"hint: strongroom {group} flavor register" in wrong.err


def test_own_flavors_in_a_process(process: CommandLine) -> None:
    """The installed command finds modules in the working folder, too."""
    Path("my_flavors.py").write_text(FLAVORS)
    done(process("alerter", "flavor", "register", "my_flavors:Pager"))
    done(process("alerter", "register", "mine", "--flavor=own", "--token={{a.b}}"))


@pytest.mark.parametrize("group", COMPONENT_GROUPS)
def test_flavors_are_listed(strongroom: CommandLine, group: str) -> None:
    """Every type lists its flavors, as JSON also when there is none."""
    page = done(strongroom(group, "flavor", "list", "-o", "json")).data
    assert page["total"] == len(page["items"])
    for flavor in page["items"]:
        assert flavor["builtin"]
        assert flavor["name"] in done(strongroom(group, "flavor", "describe", flavor["name"])).out + flavor["name"]
    for empty in (strongroom(group, "list", "--name", "zzz", "-o", "json"), strongroom(group, "list", "--page", "9", "-o", "json")):
        assert done(empty).data["items"] == []
    done(strongroom(group, "--help"))


def test_bad_input_of_components(strongroom: CommandLine) -> None:
    """Each mistake is one clear line with the right exit code, and stores nothing."""
    tracker = ("experiment-tracker", "register", "x")
    for code, message, arguments in (
        (2, "--flavor is missing", tracker),
        (2, "NAME is missing", ("experiment-tracker", "register", "--flavor=mlflow")),
        (2, "--tracking_uri has no value", (*tracker, "--flavor=mlflow", "--tracking_uri", VALUE)),
        (2, "a word too many", (*tracker, "--flavor=mlflow", VALUE)),
        (2, "--output takes one of", (*tracker, "--flavor=mlflow", "-o", "xml")),
        (1, "no experiment tracker flavor 'mlflo'", (*tracker, "--flavor=mlflo")),
        (1, "has no attribute 'tracking_url'", (*tracker, "--flavor=mlflow", f"--tracking_url={VALUE}")),
        (1, "takes true or false", (*tracker, "--flavor=mlflow", f"--tracking_insecure_tls={VALUE}")),
        (1, "cannot be a reference", (*tracker, "--flavor=mlflow", "--tracking_insecure_tls={{a.b}}")),
        (1, "is given twice", (*tracker, "--flavor=mlflow", f"--tracking_uri={VALUE}", f"--tracking-uri={VALUE}")),
        (1, "the name of a component is no attribute", (*tracker, "--flavor=mlflow", f"--name={VALUE}")),
        (1, "neither JSON nor YAML", (*tracker, "--flavor=mlflow", "-v", "tracking_uri: {{a.b}}")),
        (1, "neither JSON nor YAML", (*tracker, "--flavor=mlflow", "-v", f"{{{VALUE}")),
        (1, "-v takes a mapping", (*tracker, "--flavor=mlflow", "-v", VALUE)),
        (1, "is null", (*tracker, "--flavor=mlflow", "-v", '{"tracking_uri": null}')),
        (1, "cannot read the file given for --tracking_uri", (*tracker, "--flavor=mlflow", f"--tracking_uri=@{VALUE}")),
        (1, "cannot be a reference", ("experiment-tracker", "register", "{{a.b}}", "--flavor=mlflow")),
        (1, "letters, digits", ("experiment-tracker", "register", "a b", "--flavor=mlflow")),
        (1, "needs the attribute path", ("artifact-store", "register", "x", "--flavor=s3")),
        (1, "takes a mapping", ("artifact-store", "register", "x", "--flavor=s3", "--path=s3://x", f"--options={VALUE}")),
        (1, "there is no experiment tracker 'x'", ("experiment-tracker", "describe", "x")),
        (1, "there is no experiment tracker 'x'", ("experiment-tracker", "update", "x", f"--tracking_uri={VALUE}")),
        (1, "there is no experiment tracker 'x'", ("experiment-tracker", "rename", "x", "y")),
        (1, "there is no experiment tracker 'x'", ("experiment-tracker", "delete", "x", "-y")),
        (2, "there is nothing to change", ("experiment-tracker", "update", "x")),
        (2, "there is no such command", ("experiment-tracker", "regster", "x")),
        (2, "--size takes a whole number", ("experiment-tracker", "list", "--size", "0")),
        (1, "has no proper import path", ("alerter", "flavor", "register", "Pager")),
        (1, "there is no module no_such_module", ("alerter", "flavor", "register", "no_such_module:Pager")),
        (1, "is built in and stays", ("alerter", "flavor", "delete", "slack", "-y")),
        (1, "is part of the stack 'default'", ("orchestrator", "delete", "default", "-y")),
    ):
        outcome = refused(strongroom(*arguments), code, message)
        assert not holds_canary(outcome.err)
    assert strongroom("experiment-tracker", "list", "-o", "json").data["total"] == 0
    assert strongroom("artifact-store", "list", "-o", "json").data["total"] == 1


def test_attributes_from_everywhere(strongroom: CommandLine) -> None:
    """Attributes come as pairs, from files, from standard input and from documents, with hyphens or underscores."""
    Path("uri.txt").write_text("http://from-a-file")
    Path("attributes.yaml").write_text("tracking-username: '{{ml.user}}'\ntracking_insecure_tls: true\n")
    done(
        strongroom(
            "experiment-tracker",
            "register",
            "a",
            "--flavor=mlflow",
            "-v",
            "@attributes.yaml",
            "--tracking_uri=@uri.txt",
            "--experiment-name=@@x",
        )
    )
    assert strongroom("experiment-tracker", "describe", "a", "-o", "json").data["configuration"] == {
        "tracking_uri": "http://from-a-file",
        "tracking_username": "{{ml.user}}",
        "experiment_name": "@x",
        "tracking_insecure_tls": True,
    }
    done(strongroom("artifact-store", "register", "b", "--flavor=s3", "-v", "-", stdin=b'{"path": "s3://x", "options": {"a": [1]}}'))
    assert strongroom("artifact-store", "describe", "b", "-o", "json").data["configuration"] == {
        "path": "s3://x",
        "options": {"a": ["********"]},
    }
    changed = done(strongroom("experiment-tracker", "update", "a", "-r", "experiment-name", "--remove", "tracking_uri", "-o", "json"))
    assert set(changed.data["configuration"]) == {"tracking_username", "tracking_insecure_tls"}


def test_plain_text_is_warned_about_and_masked(strongroom: CommandLine) -> None:
    """Plain text in a sensitive attribute, or a misspelt reference, is one line of warning; nothing shows the text again."""
    made = done(strongroom("experiment-tracker", "register", "a", "--flavor=mlflow", f"--tracking_password={PLAIN}", "-o", "json"))
    assert made.err.count("warning: experiment tracker 'a': the attribute 'tracking_password' is sensitive") == 1
    near = done(strongroom("experiment-tracker", "register", "b", "--flavor=mlflow", "--tracking_username={{ml}}"))
    assert "looks like a reference" in near.err
    done(strongroom("stack", "register", "s", "-o", "default", "-a", "default", "-e", "a"))
    outputs = [made] + [
        done(strongroom(*arguments, *form))
        for form in ((), ("-o", "json"), ("-o", "yaml"))
        for arguments in (
            ("experiment-tracker", "describe", "a"),
            ("experiment-tracker", "list"),
            ("stack", "describe", "s"),
            ("stack", "list"),
        )
    ]
    for outcome in outputs:
        assert PLAIN not in outcome.out + outcome.err


# Stacks.


def test_the_commands_of_stacks(strongroom: CommandLine) -> None:
    """Stacks are registered, shown, chosen, changed, renamed and deleted; options may be written with underscores."""
    done(strongroom("experiment-tracker", "register", "tracker", "--flavor=mlflow"))
    done(strongroom("stack", "register", "one", "--orchestrator", "default", "--artifact_store", "default"))
    made = done(
        strongroom("stack", "register", "two", "-o", "default", "-a", "default", "--experiment_tracker=tracker", "--output", "json")
    )
    assert [part["name"] for part in made.data["components"]] == ["default", "tracker", "default"]
    assert not made.data["active"]
    page = done(strongroom("stack", "list", "-o", "json")).data
    assert [(item["name"], item["active"]) for item in page["items"]] == [("default", True), ("one", False), ("two", False)]
    assert "yes" in done(strongroom("stack", "list", "--name", "default")).out
    assert done(strongroom("stack", "list", "--name", "zzz", "-o", "json")).data["items"] == []
    assert "Your active stack is 'two' now." in done(strongroom("stack", "set", "two")).err
    assert done(strongroom("stack", "describe", "-o", "json")).data["name"] == "two"
    assert "experiment tracker" in done(strongroom("stack", "describe")).out
    changed = done(strongroom("stack", "update", "one", "--experiment_tracker", "tracker", "--output=json"))
    assert len(changed.data["components"]) == 3
    assert len(done(strongroom("stack", "update", "one", "--remove", "experiment-tracker", "--output=json")).data["components"]) == 2
    done(strongroom("stack", "rename", "one", "three"))
    refused(strongroom("stack", "describe", "one"), 1, "there is no stack 'one'")
    assert strongroom("stack", "delete", "three", stdin=b"\n").code == 1
    assert "Its components stay." in done(strongroom("stack", "delete", "three", stdin=b"y\n")).err
    refused(strongroom("stack", "delete", "two", "-y"), 1, "is your active one")
    refused(strongroom("stack", "delete", "default", "-y"), 1, "the default stack stays")
    done(strongroom("stack", "register", "four", "-o", "default", "-a", "default", "--set"))
    done(strongroom("stack", "delete", "two", "-y"))
    assert [item["name"] for item in strongroom("stack", "list", "-o", "json").data["items"]] == ["default", "four"]


def test_bad_input_of_stacks(strongroom: CommandLine) -> None:
    """Each mistake is one clear line with the right exit code, and stores nothing."""
    both = ("-o", "default", "-a", "default")
    for code, message, arguments in (
        (2, "NAME is missing", ("stack", "register", *both)),
        (1, "a stack needs an orchestrator", ("stack", "register", "x")),
        (1, "a stack needs an artifact store", ("stack", "register", "x", "-o", "default")),
        (1, "there is no orchestrator 'zzz'", ("stack", "register", "x", "-o", "zzz", "-a", "default")),
        (1, "cannot be a reference", ("stack", "register", "{{a.b}}", *both)),
        (1, "stack 'default' already exists", ("stack", "register", "default", *both)),
        (2, "there is no option", ("stack", "register", "x", *both, "--experiment-trackers", "y")),
        (2, "a word too many", ("stack", "register", "x", *both, "y")),
        (2, "--output takes one of", ("stack", "register", "x", *both, "--output", "xml")),
        (2, "there is nothing to change", ("stack", "update", "default")),
        (2, "both put in and taken out", ("stack", "update", "default", "-e", "x", "--remove", "experiment_tracker")),
        (2, "--remove takes one of", ("stack", "update", "default", "--remove", "zzz")),
        (1, "a stack needs an orchestrator", ("stack", "update", "default", "--remove", "orchestrator")),
        (1, "the default stack keeps its name", ("stack", "rename", "default", "x")),
        (1, "there is no stack 'x'", ("stack", "set", "x")),
        (1, "there is no stack 'x'", ("stack", "validate", "x")),
        (1, "there is no stack 'x'", ("stack", "register-secrets", "x")),
        (2, "--level takes one of", ("stack", "validate", "--level", "bogus")),
    ):
        refused(strongroom(*arguments), code, message)
    page = strongroom("stack", "list", "-o", "json").data
    assert [(item["name"], len(item["components"])) for item in page["items"]] == [("default", 2)]


def test_the_setting_overrules_the_choice(process: CommandLine) -> None:
    """`STRONGROOM_ACTIVE_STACK` is used instead of the chosen stack, and `stack set` says so."""
    done(process("stack", "register", "s", "-o", "default", "-a", "default"))
    assert done(process("stack", "describe", "-o", "json", STRONGROOM_ACTIVE_STACK="s")).data["name"] == "s"
    assert "'s' is used here" in done(process("stack", "set", "default", STRONGROOM_ACTIVE_STACK="s")).err
    refused(process("stack", "describe", STRONGROOM_ACTIVE_STACK="zzz"), 1, "there is no stack 'zzz'")


# Validation.


def test_validation_lists_everything_then_passes(ml: CommandLine) -> None:
    """All references that would not resolve are listed at once, with component, attribute and reason; then none is left."""
    ml("secret", "create", "mll", f"--user={VALUE}")
    failed = ml("stack", "validate", "-o", "json")
    assert failed.code == 1
    assert failed.data == {
        "stack": "ml",
        "level": "SECRET_AND_KEY_EXISTS",
        "references": 3,
        "valid": False,
        "problems": [
            {
                "owner": "artifact store 'bucket'",
                "attribute": "options.client[0]",
                "reference": "{{s3.token}}",
                "reason": "there is no secret 's3'",
            },
            {
                "owner": "experiment tracker 'tracker'",
                "attribute": "tracking_username",
                "reference": "{{ml.user}}",
                "reason": "there is no secret 'ml' (did you mean mll?)",
            },
            {
                "owner": "experiment tracker 'tracker'",
                "attribute": "tracking_password",
                "reference": "{{ml.password}}",
                "reason": "there is no secret 'ml' (did you mean mll?)",
            },
        ],
    }
    assert failed.err == "Error: 3 references of stack 'ml' cannot be resolved\nhint: strongroom stack register-secrets ml\n"
    table = ml("stack", "validate", "ml")
    assert table.code == 1
    for text in ("{{s3.token}}", "{{ml.user}}", "{{ml.password}}", "options.client[0]", "tracking_password"):
        assert text in table.out
    ml("secret", "create", "ml", f"--user={VALUE}")
    ml("secret", "create", "s3", f"--token={VALUE}", "--scope=user")
    partly = ml("stack", "validate", "-o", "json")
    assert [problem["reason"] for problem in partly.data["problems"]] == ["secret 'ml' has no key 'password'; its keys are: user"]
    ml("secret", "update", "ml", f"--password={VALUE}")
    passed = done(ml("stack", "validate", "-o", "json"))
    assert (passed.data["valid"], passed.data["problems"]) == (True, [])
    assert passed.err == "Stack 'ml' is valid: 3 references checked (SECRET_AND_KEY_EXISTS).\n"
    assert done(ml("stack", "validate")).out == ""


def test_levels_of_validation(ml: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The level is the option's, else the setting's; a level that there is not is one readable line."""
    ml("secret", "create", "ml", f"--user={VALUE}")
    ml("secret", "create", "s3", f"--other={VALUE}")
    for level, problems in (("NONE", 0), ("SECRET_EXISTS", 0), ("SECRET_AND_KEY_EXISTS", 2)):
        outcome = ml("stack", "validate", "--level", level, "-o", "json")
        assert (outcome.code, outcome.data["level"], len(outcome.data["problems"])) == (min(problems, 1), level, problems)
        monkeypatch.setenv("STRONGROOM_SECRET_VALIDATION_LEVEL", level)
        assert ml("stack", "validate", "-o", "json").data == outcome.data
    monkeypatch.setenv("STRONGROOM_SECRET_VALIDATION_LEVEL", "NONE")
    assert "Nothing was checked" in done(ml("stack", "validate")).err
    assert ml("stack", "validate", "--level", "secret_and_key_exists").code == 1
    monkeypatch.setenv("STRONGROOM_SECRET_VALIDATION_LEVEL", "bogus")
    wrong = refused(ml("stack", "validate"), 1, "STRONGROOM_SECRET_VALIDATION_LEVEL is one of NONE, SECRET_EXISTS")
    assert "Traceback" not in wrong.err


def test_the_active_stack_is_changed_without_a_name(ml: CommandLine) -> None:
    """`update` and `remove-component` take the active stack unless another one is named; what was taken out stays."""

    def parts(*words: str) -> set[str]:
        return {part["type"] for part in done(ml("stack", "describe", *words, "-o", "json")).data["components"]}

    before = parts()
    done(ml("stack", "remove-component", "-e"))
    assert before - parts() == {"experiment_tracker"}
    done(ml("stack", "update", "-e", "tracker"))
    assert parts() == before
    done(ml("stack", "register", "other", "-o", "default", "-a", "default", "-e", "tracker"))
    done(ml("stack", "remove-component", "other", "--experiment_tracker"))
    assert (parts("other"), parts()) == ({"orchestrator", "artifact_store"}, before)
    refused(ml("stack", "remove-component"), 2, "there is nothing to take out")
    refused(ml("stack", "remove-component", "-o"), 1, "orchestrator")


def test_a_stack_is_deleted_with_its_components(ml: CommandLine) -> None:
    """But for those that another stack has, and the default ones."""
    done(ml("alerter", "register", "bell", "--flavor=slack", "--channel=C1", "--slack_token={{s.t}}"))
    done(ml("stack", "register", "other", "-o", "default", "-a", "default", "-e", "tracker", "-al", "bell"))
    assert ml("stack", "delete", "other", "--recursive", stdin=b"n\n").code == 1
    told = done(ml("stack", "delete", "other", "-r", "-y")).err
    assert "Deleted alerter 'bell'." in told
    assert "Experiment tracker 'tracker' stays: " in told
    assert "Orchestrator 'default' stays: " in told
    assert ml("alerter", "describe", "bell").code == 1
    done(ml("experiment-tracker", "describe", "tracker"))


def test_changes_of_secrets_say_what_they_break(ml: CommandLine) -> None:
    """Removed keys, another scope, another name and the end of a secret: each says which components refer to it."""
    done(ml("secret", "create", "ml", "--user=u", "--password=p", "--other=o"))
    assert "note:" not in done(ml("secret", "update", "ml", "--user=v")).err
    assert "note:" not in done(ml("secret", "update", "ml", "-r", "other")).err
    removed = done(ml("secret", "update", "ml", "-r", "user")).err
    assert "its tracking_username is {{ml.user}}" in removed
    assert "{{ml.password}}" not in removed
    for words in (("update", "ml", "--new-scope=user"), ("rename", "ml", "lm"), ("rename", "lm", "ml"), ("delete", "ml", "-y")):
        assert ("{{ml." in done(ml("secret", *words)).err) == (words[1] == "ml")


def test_a_stack_without_references(strongroom: CommandLine) -> None:
    """There is nothing to check and nothing to ask for, which is no error."""
    assert done(strongroom("stack", "validate", "-o", "json")).data["references"] == 0
    assert "refers to no secret" in done(strongroom("stack", "register-secrets")).err


# Registering what is missing.


def test_register_secrets_on_a_terminal(ml: CommandLine, terminal: Callable[..., pexpect.spawn]) -> None:
    """Each missing value is asked for without an echo, Enter keeps what exists and is not taken for what does not."""
    ml("secret", "create", "ml", f"--user={VALUE}")
    child = terminal("stack", "register-secrets", "ml")
    child.expect(r"Value of 'token' of secret 's3' \(hidden\): ")
    child.sendline("")
    child.expect("it is missing, so a value is needed")
    child.expect("Value of 'token'")
    child.sendline(HIDDEN)
    child.expect(r"Value of 'user' of secret 'ml' \(hidden, Enter keeps it\): ")
    assert HIDDEN not in child.before
    child.sendline("")
    child.expect(r"Value of 'password' of secret 'ml' \(hidden\): ")
    child.sendline(f"{HIDDEN}-2")
    child.expect(pexpect.EOF)
    assert HIDDEN not in child.before
    child.close()
    assert child.exitstatus == 0
    right = ml("secret", "get", "ml", "-o", "json").data["values"] == {"user": CANARY, "password": f"{HIDDEN}-2"}
    assert right
    assert ml("secret", "get", "s3", "-o", "json").data["values"] == {"token": HIDDEN}
    assert ml("secret", "describe", "s3", "-o", "json").data["scope"] == "workspace"
    done(ml("stack", "validate"))


@pytest.mark.parametrize("interrupt", ["sendintr", "sendeof"])
def test_giving_up_changes_nothing(ml: CommandLine, terminal: Callable[..., pexpect.spawn], interrupt: str) -> None:
    """Ctrl-C or Ctrl-D at the second question ends in one line, and the first answer is not stored."""
    child = terminal("stack", "register-secrets")
    child.expect("Value of 'token'")
    child.sendline(HIDDEN)
    child.expect("Value of 'user'")
    getattr(child, interrupt)()
    child.expect("Error: cancelled; nothing was changed")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert ml("secret", "list", "-o", "json").data["total"] == 0


def test_register_secrets_from_a_pipe(ml: CommandLine) -> None:
    """Answers may come from a pipe; too few of them store nothing; with `--skip-existing` only what is missing is asked for."""
    cut = ml("stack", "register-secrets", stdin=f"{VALUE}\n{VALUE}\n".encode())
    assert cut.code == 1
    assert "cancelled; nothing was changed" in cut.err
    assert ml("secret", "list", "-o", "json").data["total"] == 0
    ml("secret", "create", "ml", f"--user={VALUE}", "--other=stays")
    stored = done(ml("stack", "register-secrets", "--skip-existing", stdin=f"{VALUE}-1\n{VALUE}-2\n".encode()))
    assert "Value of 'user'" not in stored.err
    assert "Created secret 's3' with: token." in stored.err
    assert "Updated secret 'ml' with: password; it is at version 2." in stored.err
    values = ml("secret", "get", "ml", "-o", "json").data["values"]
    right = values == {"user": CANARY, "other": "stays", "password": f"{CANARY}-2"}
    assert right
    again = done(ml("stack", "register-secrets", "--skip-existing"))
    assert again.err == "Nothing was changed: stack 'ml' has all the secrets that it refers to.\n"
    kept = done(ml("stack", "register-secrets", stdin=b"\n\n\n"))
    assert "Nothing was changed" in kept.err
    done(ml("stack", "register-secrets", stdin=f"\n{VALUE}-new\n\n".encode()))
    right = ml("secret", "get", "ml", "-o", "json").data["values"]["user"] == f"{CANARY}-new"
    assert right
    assert ml("secret", "describe", "s3", "-o", "json").data["version"] == 1


def test_what_can_never_exist_is_not_asked_for(strongroom: CommandLine) -> None:
    """A reference to a reserved name is told before anything is asked or stored."""
    done(strongroom("alerter", "register", "a", "--flavor=slack", "--channel={{ok.k}}", "--slack_token={{name.key}}"))
    done(strongroom("stack", "register", "s", "-o", "default", "-a", "default", "--alerter", "a", "--set"))
    refused(strongroom("stack", "register-secrets", stdin=f"{VALUE}\n{VALUE}\n".encode()), 1, "a secret cannot be called 'name'")
    assert strongroom("secret", "list", "-o", "json").data["total"] == 0


# Records.


@pytest.fixture
def run_name(strongroom: CommandLine) -> str:
    """A run on record: one step that failed, one that never began, and what they read."""
    done(strongroom("secret", "create", "ml", f"--user={VALUE}", f"--password={VALUE}"))
    with Client() as client:
        steps = [PlannedStep(name="load", parameters={"rows": 5}), PlannedStep(name="train", inputs={"data": "load.output"})]
        run = client.create_run(CreateRun(pipeline="training", stack="default", name="first", steps=steps))
        (item,) = client.resolve_references([Reference("ml", "user")], run_id=run.id).items
        assert item.secret_id
        read = SecretRead(secret_id=item.secret_id, secret="ml", version=1, key="password", step="load")
        client.record_reads(run.id, [read])
        client.update_run_step(run.id, "load", RunStatus.RUNNING)
        output = ArtifactRecord(
            name="output", uri=f"file:///x/{run.id}/load/output.json", format="json", type="builtins.dict", size=2, digest="0" * 64
        )
        client.update_run_step(run.id, "load", RunStatus.COMPLETED, outputs=[output], metadata={"rows": 5})
        client.finish_run(run.id, RunStatus.FAILED, "step 'train' failed")
    return run.name


def test_runs(strongroom: CommandLine, run_name: str) -> None:
    """Runs are listed and described, with their steps and which step read what; never a value."""
    listed = done(strongroom("run", "list", "-o", "json")).data
    assert [(item["name"], item["status"]) for item in listed["items"]] == [(run_name, "failed")]
    assert "steps" not in listed["items"][0]
    assert run_name in done(strongroom("run", "list", "--pipeline", "training", "--status", "failed")).out
    assert done(strongroom("run", "list", "--status", "completed", "-o", "json")).data["items"] == []
    described = done(strongroom("run", "describe", run_name, "-o", "json")).data
    assert [(step["name"], step["status"]) for step in described["steps"]] == [("load", "completed"), ("train", "pending")]
    assert {(read["step"], read["secret"], read["key"]) for read in described["reads"]} == {
        (None, "ml", "user"),
        ("load", "ml", "password"),
    }
    assert done(strongroom("run", "describe", described["id"], "-o", "json")).data == described
    table = done(strongroom("run", "describe", run_name)).out
    for text in ("first", "step 'train' failed", "data=load.output", "output: file:///x", "rows=5", "(the run)", "password"):
        assert text in table
    assert done(strongroom("run", "describe", run_name, "-o", "yaml")).out.startswith("id: ")


def test_usage(strongroom: CommandLine, run_name: str) -> None:
    """Which run and step read which key of which version of a secret is listed, by name and by id; never a value."""
    page = done(strongroom("secret", "usage", "ml", "-o", "json")).data
    assert {(use["run"], use["step"], use["version"], use["key"]) for use in page["items"]} == {
        (run_name, None, 1, "user"),
        (run_name, "load", 1, "password"),
    }
    secret_id = strongroom("secret", "describe", "ml", "-o", "json").data["id"]
    assert done(strongroom("secret", "usage", secret_id, "--version", "1", "-o", "json")).data == page
    assert done(strongroom("secret", "usage", "ml", "--version", "2", "-o", "json")).data["items"] == []
    assert len(done(strongroom("secret", "usage", "ml", "--size", "1", "--page", "2", "-o", "json")).data["items"]) == 1
    table = done(strongroom("secret", "usage", "ml"))
    assert "(the run)" in table.out
    assert "2 reads in all" in table.err
    refused(strongroom("secret", "usage", "ml", "--scope", "user"), 1, "there is no secret 'ml' in your user scope")


def test_nothing_on_record(strongroom: CommandLine) -> None:
    """Without runs the lists are empty and valid, and what is not there is one line."""
    strongroom("secret", "create", "s", "--k=v")
    for arguments in (("run", "list"), ("secret", "usage", "s")):
        page = done(strongroom(*arguments, "-o", "json")).data
        assert (page["items"], page["total"], page["total_pages"]) == ([], 0, 0)
        assert done(strongroom(*arguments, "-o", "yaml")).out.startswith("items: []")
        done(strongroom(*arguments))
    for code, message, arguments in (
        (1, "there is no run 'zzz'", ("run", "describe", "zzz")),
        (2, "is missing", ("run", "describe")),
        (2, "--status takes one of", ("run", "list", "--status", "bogus")),
        (1, "there is no secret 'zzz'", ("secret", "usage", "zzz")),
        (2, "--version takes a whole number", ("secret", "usage", "s", "--version", "0")),
    ):
        refused(strongroom(*arguments), code, message)


def test_groups_without_a_command_show_their_help(strongroom: CommandLine) -> None:
    """Every new group names its commands, at every level."""
    for arguments in (
        ("stack",),
        ("run",),
        *((group,) for group in COMPONENT_GROUPS),
        *((group, "flavor") for group in COMPONENT_GROUPS),
    ):
        outcome = strongroom(*arguments)
        assert outcome.code == 2
        assert "Commands:" in outcome.err
        assert "list" in outcome.err


def test_completion(process: CommandLine) -> None:
    """Groups, commands, and the names of components and stacks complete in the shell."""
    done(process("experiment-tracker", "register", "tracker", "--flavor=mlflow"))
    done(process("stack", "register", "mine", "-o", "default", "-a", "default"))
    for words, wanted in (
        ("strongroom experiment-t", ["experiment-tracker"]),
        ("strongroom stack reg", ["register", "register-secrets"]),
        ("strongroom stack set mi", ["mine"]),
        ("strongroom stack validate de", ["default"]),
        ("strongroom experiment-tracker describe tr", ["tracker"]),
        ("strongroom stack register x -e tr", ["tracker"]),
        ("strongroom orchestrator delete zzz", []),
    ):
        count = str(len(words.split()) - 1)
        out = process(_STRONGROOM_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count).out
        assert out.split() == [f"plain,{word}" for word in wanted], words
