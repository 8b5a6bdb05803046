"""Values that a run read are in nothing that it shows or keeps."""

from __future__ import annotations

import base64
import io
import json
import logging
import sqlite3
import subprocess
import sys
import threading
import traceback
import urllib.parse
import warnings
from collections.abc import Callable, Iterator

import pytest

from strongroom.client import Client
from strongroom.errors import StepFailed
from strongroom.pipelines import pipeline
from strongroom.redaction import MASK, SHORTEST
from strongroom.steps import StepContext, step
from tests.canary import CANARY, files_with_canary, holds_canary

VALUE = f'{CANARY}-"it\'s" a <secret>/+?&=ü'
PEM = "\n".join(["-----BEGIN PRIVATE KEY-----", *(f"{CANARY}{number:040}" for number in range(4)), "-----END PRIVATE KEY-----", ""])
ACCOUNT = json.dumps({"type": "service_account", "private_key": PEM, "client_email": f"{CANARY}@example.com", "project": "p-1"})


@pytest.fixture
def early_log() -> Iterator[io.StringIO]:
    """What a logger shows whose handler was made before the run, by a formatter of its own."""
    written = io.StringIO()
    logger = logging.getLogger("tests.pipelines.early")
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield written
    logger.removeHandler(handler)


def secret(key: str) -> str:
    return Client().get_secret("shown").secret_values[key]


@pytest.fixture(autouse=True)
def _shown(client: Client) -> None:
    client.create_secret("shown", {"value": VALUE, "pem": PEM, "account": ACCOUNT, "short": "a" * (SHORTEST - 1)})


def test_what_was_read_before_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A value that the program read before it called the pipeline, and gave it, is masked in output and record."""
    early = secret("value")

    @step
    def show(text: str) -> None:
        print(text)

    @pipeline
    def showing(text: str) -> None:
        show(text)

    run = showing(early)
    assert run.record.parameters == {"text": MASK}
    assert capsys.readouterr().out == f"{MASK}\n"


def test_values_of_an_import_and_of_the_step_itself(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """What was read before the run and handed to nobody, and what a step writes into a secret, are masked as well."""
    early, made, merged = secret("value"), f"{CANARY}-made", f"{CANARY}-merged"

    @step
    def write() -> None:
        print(early)
        client.create_secret("made", {"k": made})
        client.update_secret("made", add_or_update_values={"l": merged})
        print(made, merged)

    @pipeline
    def writing() -> None:
        write()

    writing()
    assert capsys.readouterr().out == f"{MASK}\n{MASK} {MASK}\n"


def test_child_processes_on_demand(capfd: pytest.CaptureFixture[str]) -> None:
    """With `mask_processes` what a step's children write is masked."""

    @step
    def show() -> None:
        print("first", flush=True)
        subprocess.run(["/bin/echo", secret("value")], check=True)
        print("last", flush=True)

    @pipeline
    def showing() -> None:
        show()

    showing.with_options(mask_processes=True)()
    assert sorted(capfd.readouterr().out.split()) == sorted(["first", MASK, "last"])


def test_common_values_keep_no_step_from_the_cache(client: Client) -> None:
    """Parameters with a word or a short number that happens to be a value: the step is cached; with any other value it is not."""
    client.create_secret("database", {"user": "admin", "port": "5432", "pin": "86753091234"})

    @step
    def train(role: str, epochs: int) -> int:
        assert Client().get_secret("database").secret_values["user"] == "admin"
        return epochs

    @pipeline
    def training(role: str, epochs: int) -> None:
        train(role=role, epochs=epochs)

    training("admin", 5432)
    again = training("admin", 5432)
    assert again.record.steps[0].status == "cached"
    training("admin", 86753091234)
    run = training("admin", 86753091234)
    assert run.record.steps[0].status == "completed"
    assert run.record.steps[0].parameters == {"role": MASK, "epochs": MASK}


def test_references_are_recorded_as_they_are_written(client: Client) -> None:
    """Also when the program has read a value before that happens to be a part of one."""
    client.create_secret("plain", {"word": "token"})
    client.create_secret("api", {"token": VALUE})
    assert client.get_secret("plain").secret_values["word"] == "token"

    @step(settings={"api": {"token": "{{api.token}}"}})
    def look(context: StepContext) -> bool:
        return bool(context.settings["api"]["token"] == VALUE)

    @pipeline
    def looking() -> None:
        look()

    run = looking()
    assert run.output("look") is True
    assert run.steps["look"].settings == {"api": {"token": "{{api.token}}"}}


def run_with(work: Callable[[StepContext], object]) -> object:
    """A run with a step that does this."""

    @step
    def show(context: StepContext) -> None:
        work(context)

    @pipeline
    def showing() -> None:
        show()

    return showing()


def in_pieces(text: str, stream: Callable[[], object]) -> None:
    for start in range(0, len(text), 3):
        stream().write(text[start : start + 3])
        stream().flush()


def log(value: str) -> None:
    logger = logging.getLogger("tests.pipelines.early")
    logger.info("said %s", value)
    logger.warning("%(a)s", {"a": value})
    try:
        raise ValueError(value)  # noqa: TRY301
    except ValueError:
        logger.exception("failed with %r", [value])


def warn(value: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        warnings.warn(value, stacklevel=1)


def show_traceback(value: str) -> None:
    try:
        raise KeyError(value)  # noqa: TRY301
    except KeyError:
        traceback.print_exc()


def print_in_a_thread(value: str) -> None:
    thread = threading.Thread(target=print, args=(value,))
    thread.start()
    thread.join()


def fail_in_a_thread(value: str) -> None:
    def fail() -> None:
        raise ValueError(value)

    former, threading.excepthook = threading.excepthook, threading.__excepthook__
    try:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    finally:
        threading.excepthook = former


WAYS: dict[str, Callable[[str], object]] = {
    "print": print,
    "print to stderr": lambda value: print("before", value, "after", file=sys.stderr),
    "repr": lambda value: print([value], {value: value}, (value, value.encode())),
    "json": lambda value: print(json.dumps({"a": value}), json.dumps(value, ensure_ascii=False)),
    "base64": lambda value: print(base64.b64encode(value.encode()).decode(), base64.urlsafe_b64encode(b"user:" + value.encode())),
    "url": lambda value: print(f"https://user:{urllib.parse.quote(value, safe='')}@host/?{urllib.parse.urlencode({'a': value})}"),
    "hex": lambda value: print(value.encode().hex()),
    "stdout in pieces": lambda value: in_pieces(value, lambda: sys.stdout),
    "stderr in pieces": lambda value: in_pieces(value, lambda: sys.stderr),
    "lines": lambda value: [print("  |", line) for line in value.splitlines()],
    "bytes": lambda value: sys.stdout.buffer.write(value.encode()),
    "logging": log,
    "warning": warn,
    "traceback": show_traceback,
    "thread": print_in_a_thread,
    "exception in a thread": fail_in_a_thread,
}


@pytest.mark.parametrize("key", ["value", "pem", "account"])
@pytest.mark.parametrize("way", WAYS)
def test_what_a_step_shows_is_masked(way: str, key: str, early_log: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed, logged or warned of, in whatever common form: a value that the step fetched is not to be seen."""
    run_with(lambda _: WAYS[way](secret(key)))
    out, err = capsys.readouterr()
    shown = out + err.partition("begins.\n")[2] + early_log.getvalue()
    assert not holds_canary(shown)
    assert MASK in shown


def test_it_is_masked_in_place(capsys: pytest.CaptureFixture[str], early_log: io.StringIO) -> None:
    """The mask stands where the value was; everything else stays, in order."""

    def show(_: object) -> None:
        print("a", secret("value"), "b")
        in_pieces(f"c {secret('value')} d\n", lambda: sys.stdout)
        print(secret("pem"), end="")
        logging.getLogger("tests.pipelines.early").info("e %s f", secret("value"))

    run_with(show)
    assert capsys.readouterr().out.splitlines()[:3] == [f"a {MASK} b", f"c {MASK} d", MASK]
    assert early_log.getvalue() == f"INFO e {MASK} f\n"


def test_texts_within_json_values_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    """The private key within the JSON of a service account is masked when it is shown alone; a short text in it is not."""

    def show(_: object) -> None:
        account = json.loads(secret("account"))
        print(account["private_key"])
        print(account["project"], account["type"][:7])

    run_with(show)
    out = capsys.readouterr().out
    assert not holds_canary(out)
    assert "p-1 service" in out


def test_short_values_stay(capsys: pytest.CaptureFixture[str]) -> None:
    """Values of fewer characters than `SHORTEST` are not masked: that would make holes into everything."""
    run_with(lambda _: print("it is", secret("short")))
    assert capsys.readouterr().out == f"it is {'a' * (SHORTEST - 1)}\n"


def test_values_of_references_are_masked(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """What an attribute or a setting refers to is masked like what a step fetched, and so is plain text in sensitive attributes."""
    client.create_secret("tracker", {"username": f"{CANARY}-username"})
    with pytest.warns(UserWarning, match="sensitive and holds plain text"):
        client.create_component(
            "mlflow",
            type="experiment_tracker",
            flavor="mlflow",
            configuration={"tracking_username": "{{tracker.username}}", "tracking_password": "plain-text-password"},
        )
    client.create_stack("s", {"orchestrator": "default", "artifact_store": "default", "experiment_tracker": "mlflow"}, activate=True)

    @step(settings={"deep": ["{{shown.value}}"]})
    def show(context: StepContext) -> None:
        config = context.stack.experiment_tracker.config
        print(config.tracking_username, config.tracking_password, context.settings)

    @pipeline
    def showing() -> None:
        show()

    showing()
    assert capsys.readouterr().out == f"{MASK} {MASK} {{'deep': ['{MASK}']}}\n"


def test_nothing_that_is_kept_holds_a_value(client: Client) -> None:
    """Record, database and artifacts hold no value: neither parameters nor metadata, nor errors, nor facts on outputs."""

    @step
    def note(context: StepContext, given: dict[str, str]) -> int:
        context.log_metadata({"plain": secret("value"), "deep": {"list": [f"x {secret('value')}"], secret("value"): 1}})
        return len(given["a"])

    @step
    def fail(context: StepContext, before: int) -> None:
        context.log_metadata({"before": secret("value")})
        raise ValueError([secret("value"), base64.b64encode(secret("value").encode())])

    @pipeline
    def keeping(given: str) -> None:
        fail(before=note(given={"a": secret("value")}))

    with pytest.raises(StepFailed):
        keeping(VALUE)
    record = client.get_run(client.list_runs().items[0].id)
    assert not holds_canary(repr(record))
    assert record.parameters == {"given": MASK}
    first, second = record.steps
    assert first.parameters == {"given": {"a": MASK}}
    assert first.metadata == {"plain": MASK, "deep": {"list": [f"x {MASK}"], MASK: 1}}
    assert second.error == f"ValueError: ['{MASK}', b'{MASK}']"
    folder = client.settings.folder
    with sqlite3.connect(folder / "strongroom.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        rows = [row for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
                for row in connection.execute(f'SELECT * FROM "{name}"')]  # fmt: skip
    connection.close()
    assert not holds_canary(repr(rows))
    assert files_with_canary(folder) == []
    assert list((folder / "artifacts").rglob("*.json"))


def test_the_error_that_is_raised_holds_no_value() -> None:
    """`StepFailed`, its causes and their notes, as they are printed after the run, show no value."""

    def fail(_: object) -> None:
        try:
            raise ConnectionError(f"postgresql://user:{urllib.parse.quote(secret('value'), safe='')}@host/db")  # noqa: TRY301
        except ConnectionError as error:
            error.add_note(f"with {secret('value')}")
            raise RuntimeError(secret("pem")) from error

    with pytest.raises(StepFailed) as caught:
        run_with(fail)
    shown = "".join(traceback.format_exception(caught.value))
    assert not holds_canary(shown)
    assert "ConnectionError: postgresql://user:" in shown
    assert "raise RuntimeError(secret" in shown


def test_afterwards_everything_is_as_before() -> None:
    """After a run, failed or not, the streams, the log factory and the handlers' filters are the original ones."""

    def state() -> list[object]:
        return [sys.stdout, sys.stderr, logging.getLogRecordFactory(), [list(one.filters) for one in logging.root.handlers]]

    before = state()
    seen: list[list[object]] = []
    run_with(lambda _: seen.append(state()))
    assert state() == before
    assert seen[0][:2] != before[:2]
    with pytest.raises(StepFailed):
        run_with(lambda _: 1 / 0)
    assert state() == before


def test_a_step_sees_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Masking is for what is shown: within the step a value, and files that it writes, are untouched."""
    seen: list[str] = []
    run_with(lambda _: seen.extend([secret("value"), secret("pem")]))
    assert seen == [VALUE, PEM]
