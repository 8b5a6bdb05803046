"""The guide to secrets management of the existing system: each command and each block of code does what it says."""

from __future__ import annotations

import re

import pytest

from tests.documents import blocks
from tests.documents.blocks import filled
from tests.documents.conftest import System

PAIRS = {"KEY_1": "access_key", "VALUE_1": "AKIA1", "KEY_2": "secret_key", "VALUE_2": "abc123"}
STORED = {"access_key": "AKIA1", "secret_key": "abc123"}
CONTENT = "-----BEGIN KEY-----\n'\"$`\\ {}\n-----END KEY-----\n"


@pytest.fixture
def managed(system: System) -> System:
    """The active stack has a secrets manager."""
    system.shell("""zenml secrets-manager register manager --flavor=local
zenml stack register managed -o default -a default --secrets_manager manager --set""")
    return system


def managed_values(system: System, name: str) -> dict[str, str]:
    """What the active stack's secrets manager has under a name."""
    with system.client() as client:
        manager = client.active_stack.secrets_manager
        assert manager is not None
        return manager.get_secret(name).content


def make_file(system: System) -> None:
    """The file that the guide reads a value from."""
    (system.folder / "path/to").mkdir(parents=True)
    (system.folder / "path/to/file.txt").write_text(CONTENT)


def test_create_a_secret(system: System) -> None:
    """How to create a secret with the CLI: keys and values as options, over several lines."""
    system.shell(filled(blocks.CREATE, SECRET_NAME="aws_account", **PAIRS))
    assert system.values("aws_account") == STORED


@pytest.mark.parametrize("option", ["-i", "--interactive"])
def test_create_interactively(system: System, option: str) -> None:
    """It queries for the keys and the values, which are hidden as they are typed; both spellings of the option."""
    command = filled(blocks.CREATE_INTERACTIVELY, SECRET_NAME="asked").replace("-i", option)
    shown = system.type(
        command, ("Key", "user"), ("Value", "typed1"), ("Another", "y"), ("Key", "pw"), ("Value", "typed2"), ("Another", "n")
    )
    assert system.values("asked") == {"user": "typed1", "pw": "typed2"}
    assert "typed" not in shown


def test_create_from_a_file(system: System) -> None:
    """The special @ syntax reads a value from a file, whatever characters it has."""
    make_file(system)
    system.shell(filled(blocks.CREATE_FROM_A_FILE, SECRET_NAME="from_file"))
    assert system.values("from_file") == {"key": CONTENT}


def test_list_update_and_delete(system: System) -> None:
    """The CLI also has commands to list, update and delete secrets, and to access them."""
    system.shell("zenml secret create s --a=1; zenml secret update s --a=2")
    assert "s " in system.shell("zenml secret list")
    assert re.search(r"a +2", system.shell("zenml secret get s"))
    system.shell("zenml secret delete s -y")
    assert system.run("zenml secret get s").returncode == 1


def test_the_client(system: System) -> None:
    """The client creates a secret; its other methods fetch by name or id, update, list with filters and sorting, and delete."""
    out = system.python(
        blocks.CREATE_BY_THE_CLIENT
        + """
secret_id = client.get_secret("my_secret").id
assert client.get_secret(secret_id).secret_values == {"username": "admin", "password": "abc123"}
client.update_secret("my_secret", add_or_update_values={"password": "new"}, remove_values=["username"])
assert [secret.name for secret in client.list_secrets(name="startswith:my", sort_by="desc:created")] == ["my_secret"]
print(client.get_secret("my_secret").secret_values)
client.delete_secret("my_secret")
assert client.list_secrets().total == 0
"""
    )
    assert out == "{'password': 'new'}\n"


def test_scopes(system: System) -> None:
    """A secret is scoped to the workspace unless `--scope user`; scopes are namespaces, and the user's one is looked at first."""
    system.shell("zenml secret create s --k=of-the-workspace")
    system.shell(filled(blocks.CREATE_FOR_ONESELF, SECRET_NAME="s", **PAIRS))
    assert system.values("s") == STORED
    assert system.values("s", scope="workspace") == {"k": "of-the-workspace"}
    system.shell("zenml secret delete s --scope user -y")
    assert system.values("s") == {"k": "of-the-workspace"}


def test_references_to_the_central_store(system: System) -> None:
    """A secret, and a component with references to it, in braces that bash leaves alone; the component uses the values."""
    system.shell(blocks.SECRET_OF_A_TRACKER)
    system.shell(filled(blocks.TRACKER))
    system.shell("zenml stack register ml -o default -a default -e mlflow --set; zenml stack validate")
    check_tracker(system)


def test_references_to_a_secrets_manager(managed: System) -> None:
    """The same with a secret of a secrets manager."""
    managed.shell(blocks.MANAGED_SECRET_OF_A_TRACKER)
    managed.shell(filled(blocks.TRACKER))
    managed.shell("zenml stack update managed -e mlflow; zenml stack validate")
    check_tracker(managed)


def check_tracker(system: System) -> None:
    """The tracker's attributes are stored as written, and are the values where they are used."""
    out = system.python("""
from zenml.client import Client

tracker = Client().active_stack.experiment_tracker
assert tracker.config.tracking_username == "admin"
assert tracker.config.tracking_password == "abc123"
print(Client().get_component("experiment_tracker", "mlflow").configuration)
""")
    assert "{{mlflow_secret.username}}" in out
    assert "abc123" not in out


def test_levels_of_validation(system: System) -> None:
    """The environment variable says how much is validated; by default everything is. Another level is an error."""
    system.shell(f"{filled(blocks.TRACKER)}\nzenml stack register ml -o default -a default -e mlflow --set")

    def fails(level: str) -> bool:
        return system.run(f"export {blocks.VALIDATION_LEVEL}={level}; zenml stack validate").returncode == 1

    levels = ("NONE", "SECRET_EXISTS", "SECRET_AND_KEY_EXISTS", "")
    assert [fails(level) for level in levels] == [False, True, True, True]
    system.shell("zenml secret create mlflow_secret --username=admin")
    assert [fails(level) for level in levels] == [False, False, True, True]
    system.shell("zenml secret update mlflow_secret --password=abc123")
    assert [fails(level) for level in ("SECRET_AND_KEY_EXISTS", "bogus")] == [False, True]


def test_a_run_fails_early(system: System) -> None:
    """References are validated before a pipeline runs: no step begins when one does not exist."""
    system.shell(f"{filled(blocks.TRACKER)}\nzenml stack register ml -o default -a default -e mlflow --set")
    script = """
from zenml.pipelines import pipeline
from zenml.steps import step

@step
def begin() -> None:
    print("a step has begun")

@pipeline
def early() -> None:
    begin()

early()
"""
    (system.folder / "early.py").write_text(system.spelt(script))
    done = system.run("python early.py")
    assert done.returncode == 1
    assert "no step was started: 2 references cannot be resolved" in done.stderr
    assert "a step has begun" not in done.stdout


def test_the_central_store_takes_precedence(managed: System) -> None:
    """With a secret of the name in both, that of the centralized store counts; the secrets manager is what is fallen back to."""
    managed.shell(filled(blocks.TRACKER))
    managed.shell("zenml stack update managed -e mlflow")
    managed.shell("zenml secrets-manager secret register mlflow_secret --username=managed --password=x")
    show = "from zenml.client import Client\nprint(Client().active_stack.experiment_tracker.config.tracking_username)"
    assert managed.python(show) == "managed\n"
    managed.shell(blocks.SECRET_OF_A_TRACKER)
    assert managed.python(show) == "admin\n"
    managed.shell("zenml secret delete mlflow_secret -y")
    assert managed.python(show) == "managed\n"


def run_script(system: System, block: str, name: str, uses: str) -> str:
    """Runs the guide's step in a pipeline, from a script; what it printed."""
    code = filled(block, SECRET_NAME='"s"')
    script = f"""
from zenml.pipelines import pipeline

def authenticate_to_some_api(username, password):
    print("logged in as", username, "with", password, len(password))
{code}
@pipeline
def loading() -> None:
    secret_loader()

{uses}
"""
    (system.folder / f"{name}.py").write_text(system.spelt(script))
    return system.shell(f"python {name}.py")


def test_fetch_in_a_step(system: System) -> None:
    """A step fetches a secret by name through the client; what it prints shows no value."""
    system.shell("zenml secret create s --username=the-admin --password=abc12345")
    assert run_script(system, blocks.STEP, "fetch", "loading()") == "logged in as ******** with ******** 8\n"


def test_fetch_from_the_secrets_manager_in_a_step(managed: System) -> None:
    """A step gets a secret of the secrets manager through its context; it is cached only because it says so."""
    managed.shell("zenml secrets-manager secret register s --username=the-admin --password=abc12345")
    uses = """
first, second = loading(), loading()
print([run.record.steps[0].status for run in (first, second)])
"""
    assert "'completed'" in (out := run_script(managed, blocks.STEP_WITH_A_SECRETS_MANAGER, "cached", uses)), out
    assert "'cached'" in out
    uncached = blocks.STEP_WITH_A_SECRETS_MANAGER.replace("@step(enable_cache=True)", "@step").replace(
        "return", "print(sorted(retrieved_secret.content))"
    )
    out = run_script(managed, uncached, "uncached", uses)
    assert out.count("['password', 'username']") == 2
    assert "'cached'" not in out


def test_it_fails_without_a_secrets_manager(system: System) -> None:
    """The step fails when the stack has no secrets manager, or that has no such secret."""
    code = filled(blocks.STEP_WITH_A_SECRETS_MANAGER, SECRET_NAME='"s"')
    script = f"from zenml.pipelines import pipeline\n{code}\n@pipeline\ndef loading() -> None:\n    secret_loader()\n\nloading()\n"
    (system.folder / "fails.py").write_text(system.spelt(script))
    assert system.run("python fails.py").returncode == 1
    system.shell("zenml secrets-manager register m --flavor=local; zenml stack update default -x m")
    done = system.run("python fails.py")
    assert done.returncode == 1
    assert "secrets manager 'm' has no secret 's'" in done.stderr


def test_register_a_secret(managed: System) -> None:
    """How to register a secret of the secrets manager, with keys and values as options."""
    managed.shell(filled(blocks.REGISTER, SECRET_NAME="s", **PAIRS))
    assert managed_values(managed, "s") == STORED


@pytest.mark.parametrize("option", ["-i", "--interactive"])
def test_register_interactively(managed: System, option: str) -> None:
    """It queries for keys and values."""
    command = filled(blocks.REGISTER_INTERACTIVELY, SECRET_NAME="s").replace("-i", option)
    shown = managed.type(command, ("Key", "user"), ("Value", "typed1"), ("Another", "n"))
    assert managed_values(managed, "s") == {"user": "typed1"}
    assert "typed" not in shown


def test_register_from_a_file(managed: System) -> None:
    """The special @ syntax reads a value from a file."""
    make_file(managed)
    managed.shell(filled(blocks.REGISTER_FROM_A_FILE, SECRET_NAME="s"))
    assert managed_values(managed, "s") == {"key": CONTENT}


def test_registering_needs_a_secrets_manager(system: System) -> None:
    """To register a secret, you need a secrets manager in your active stack: without one it says so."""
    done = system.run(filled(blocks.REGISTER, SECRET_NAME="s", **PAIRS))
    assert done.returncode == 1
    assert "has no secrets manager" in done.stderr


@pytest.mark.parametrize("named", [{}, {"STACK_NAME": "managed"}], ids=["active", "named"])
def test_register_missing_secrets(managed: System, named: dict[str, str]) -> None:
    """It asks for all secrets that a stack refers to and that are missing, and registers them in its secrets manager."""
    managed.shell(f"{filled(blocks.TRACKER)}\nzenml stack update managed -e mlflow")
    managed.type(filled(blocks.REGISTER_MISSING, **named), ("'username'", "typed1"), ("'password'", "typed2"))
    assert managed_values(managed, "mlflow_secret") == {"username": "typed1", "password": "typed2"}
    managed.shell("zenml stack validate")


def test_migrate(managed: System) -> None:
    """The command that the guide gives to whoever uses a secrets manager already: each secret is moved, after a question."""
    managed.shell(filled(blocks.REGISTER, SECRET_NAME="s", **PAIRS))
    managed.type(blocks.MIGRATE, ("Migrate secret 's'", "y"), ("Delete 's'", "y"))
    assert managed.values("s") == STORED
    with pytest.raises(KeyError):
        managed_values(managed, "s")


def test_a_store_of_ones_own(system: System) -> None:
    """A class as in the three steps of the guide, with the methods of its interface, keeps the values of a deployment."""
    methods = re.findall(r"def (\w+)", blocks.INTERFACE)
    code = (
        blocks.STORE_OF_ONES_OWN
        + """
import json, pathlib, uuid


class Shape(ABC):
"""
        + blocks.INTERFACE
        + '''

class FolderConfiguration(SecretsStoreConfiguration):
    folder: str


class FolderStore(BaseSecretsManager):
    """Each secret is a file."""

    TYPE = SecretsStoreType.CUSTOM
    CONFIG_TYPE = FolderConfiguration

    def _initialize(self) -> None:
        self.folder = pathlib.Path(self.config.folder)
        self.folder.mkdir(exist_ok=True)

    def create_secret(self, secret: SecretRequestModel) -> SecretResponseModel:
        made = SecretResponseModel(id=uuid.uuid4(), name=secret.name, scope=secret.scope, values=secret.values)
        (self.folder / str(made.id)).write_text(json.dumps([secret.name, secret.secret_values]))
        return made

    def get_secret(self, secret_id: UUID) -> SecretResponseModel:
        try:
            name, values = json.loads((self.folder / str(secret_id)).read_text())
        except FileNotFoundError:
            raise KeyError(secret_id) from None
        from strongroom.redaction import SecretText

        return SecretResponseModel(id=secret_id, name=name, values={key: SecretText(text) for key, text in values.items()})

    def list_secrets(self, secret_filter_model: SecretFilterModel) -> Page[SecretResponseModel]:
        found = [SecretResponseModel(id=UUID(path.name), name=json.loads(path.read_text())[0]) for path in self.folder.iterdir()]
        wanted = secret_filter_model.name
        return Page.of([each for each in found if wanted in (None, each.name)], secret_filter_model)

    def update_secret(self, secret_id: UUID, secret_update: SecretUpdateModel) -> SecretResponseModel:
        raise NotImplementedError

    def delete_secret(self, secret_id: UUID) -> None:
        (self.folder / str(secret_id)).unlink()


assert not set(Shape.__abstractmethods__) - set(dir(FolderStore))
'''
    )
    assert set(methods) >= {"_initialize", "create_secret", "get_secret", "list_secrets", "update_secret", "delete_secret"}
    (system.folder / "own_store.py").write_text(system.spelt(code))
    system.variables = {
        "ZENML_SECRETS_STORE_TYPE": "custom",
        "ZENML_SECRETS_STORE_CLASS_PATH": "own_store.FolderStore",
        "ZENML_SECRETS_STORE_FOLDER": str(system.folder / "kept"),
    }
    system.shell("zenml server check-stores")
    system.shell(filled(blocks.CREATE, SECRET_NAME="s", **PAIRS))
    assert "abc123" in system.shell("zenml secret get s")
    assert sum("strongroom-marker" not in path.read_text() for path in (system.folder / "kept").iterdir()) == 1
    system.shell("zenml secret update s --secret_key=new; zenml secret delete s -y")
    assert all("strongroom-marker" in path.read_text() for path in (system.folder / "kept").iterdir())
