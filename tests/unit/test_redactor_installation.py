"""While a run executes, nothing that Python prints or logs shows its values."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
import os
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pexpect
import pytest

from strongroom.redaction import MASK, RedactingStream, Redactor, SecretText, mask, redacting
from tests.canary import CANARY, holds_canary

VALUE = f'{CANARY}-"run\'s"\nvalue'
OTHER = f"{CANARY}-other"


def redactor_of(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    return redactor


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger of its own with a handler that was there before the run, and what it wrote."""
    written = io.StringIO()
    logger = logging.Logger.manager.getLogger(f"tests.redactor.{id(written)}")
    handler = logging.StreamHandler(written)
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield logger, written
    logger.handlers.clear()


PREPARE = """
import os, sys
from strongroom.redaction import Redactor, redacting
redactor = Redactor()
value = os.environ["TESTS_CANARY"] + "-child"
redactor.add(value)
"""


def in_a_terminal(code: str) -> str:
    """What is seen when a process of its own executes this; it has `redactor` and `value`."""
    terminal = pexpect.spawn(sys.executable, ["-c", PREPARE + code], encoding="utf-8", timeout=60)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    return terminal.before or ""


def in_threads(*work: Callable[[], None]) -> None:
    """Runs each in a thread of its own and waits for all."""
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_what_is_printed_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    """Both streams, text and bytes; a value that was fetched in the course of the run is masked from then on."""
    redactor = redactor_of(OTHER)
    with redacting(redactor):
        print(OTHER, "out")
        print(OTHER, "err", file=sys.stderr)
        redactor.add(SecretText(VALUE))
        print(VALUE, [VALUE], json.dumps(VALUE))
        sys.stdout.buffer.write(VALUE.encode() + b"\n")
        sys.stdout.write(VALUE[:9])
        sys.stdout.write(VALUE[9:])
    out, err = capsys.readouterr()
    assert not holds_canary(out + err)
    assert out == f"{MASK} out\n{MASK} ['{MASK}'] \"{MASK}\"\n{MASK}\n{MASK}"
    assert err == f"{MASK} err\n"


def test_everything_is_put_back() -> None:
    """After the run the streams, the record factory and the handlers are as they were, also when the run failed."""
    before = sys.stdout, sys.stderr, logging.getLogRecordFactory(), [list(handler.filters) for handler in logging.root.handlers]

    def fail() -> None:
        with redacting(redactor_of(VALUE)):
            assert isinstance(sys.stdout, RedactingStream)
            assert logging.getLogRecordFactory() is not before[2]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert before == (sys.stdout, sys.stderr, logging.getLogRecordFactory(), [list(one.filters) for one in logging.root.handlers])


def test_a_process_without_streams_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sys.stdout` may be None, as under pythonw."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with redacting(redactor_of(VALUE)):
        print(VALUE)
    assert sys.stdout is None


def test_runs_may_overlap(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever enters and leaves first, all values of all runs that are within are masked everywhere, and the end is clean."""
    original = sys.stdout
    first, second = redacting(redactor_of(VALUE)), redacting(redactor_of(OTHER))
    first.__enter__()
    second.__enter__()
    stream = sys.stdout
    print(VALUE, OTHER)
    first.__exit__(None, None, None)
    assert sys.stdout is stream
    print(OTHER)
    second.__exit__(None, None, None)
    assert sys.stdout is original
    assert capsys.readouterr().out == f"{MASK} {MASK}\n{MASK}\n"


def test_leaving_does_not_uncover_what_is_held_back(capsys: pytest.CaptureFixture[str]) -> None:
    """A value that waits because a longer one of another run begins with it stays masked when its own run ends."""
    with redacting(redactor_of(f"{OTHER}-longer")):
        with redacting(redactor_of(OTHER)):
            sys.stdout.write(OTHER)
        sys.stdout.write("!\n")
    assert capsys.readouterr().out == f"{MASK}!\n"


def test_the_same_redactor_may_be_nested(capsys: pytest.CaptureFixture[str]) -> None:
    """The inner end does not end the outer one."""
    redactor = redactor_of(OTHER)
    with redacting(redactor):
        with redacting(redactor):
            print(OTHER)
        print(OTHER)
    assert capsys.readouterr().out == f"{MASK}\n{MASK}\n"


def test_runs_in_many_threads(capsys: pytest.CaptureFixture[str], log: tuple[logging.Logger, io.StringIO]) -> None:
    """Each thread's values are masked while it is within, whatever the others do."""
    logger, written = log
    before = sys.stdout, logging.getLogRecordFactory()
    together = threading.Barrier(6)

    def work(number: int) -> None:
        together.wait()
        for turn in range(20):
            value = f"{CANARY}-{number}-{turn}"
            with redacting(redactor_of(value)):
                print(f"<{value}>")
                logger.info("<%s>", value)

    in_threads(*(lambda number=number: work(number) for number in range(6)))
    out = capsys.readouterr().out
    assert not holds_canary(out + written.getvalue())
    assert out.count(f"<{MASK}>") == written.getvalue().count(f"<{MASK}>") == 120
    assert before == (sys.stdout, logging.getLogRecordFactory())


def test_a_stream_that_somebody_put_in_place_stays() -> None:
    """A redirection that began within the run outlives it, and one that ends within it does not disturb."""
    original, elsewhere = sys.stdout, io.StringIO()
    with contextlib.ExitStack() as stack:
        with redacting(redactor_of(OTHER)):
            stack.enter_context(contextlib.redirect_stdout(elsewhere))
        assert sys.stdout is elsewhere
        print("text")
    assert elsewhere.getvalue() == "text\n"
    print("passes through")
    with redacting(redactor_of(OTHER)):
        print(OTHER)
    assert sys.stdout is original


def test_a_second_run_masks_what_was_redirected_meanwhile() -> None:
    """A run that starts within a redirection masks there; the redirection's end is not disturbed."""
    original, elsewhere = sys.stdout, io.StringIO()
    with redacting(redactor_of(VALUE)):
        outer = sys.stdout
        with contextlib.redirect_stdout(elsewhere):
            with redacting(redactor_of(OTHER)):
                print(OTHER)
            print(VALUE)
        assert sys.stdout is outer
    assert elsewhere.getvalue() == f"{MASK}\n{MASK}\n"
    assert sys.stdout is original


def test_a_stream_kept_from_a_run_works_on(capsys: pytest.CaptureFixture[str]) -> None:
    """After its run it passes everything through; in the next run it masks again, and is used again."""
    with redacting(redactor_of(OTHER)):
        kept = sys.stdout
        handler = logging.StreamHandler(sys.stderr)
    print("after", file=kept)
    handler.emit(logging.makeLogRecord({"msg": "after"}))
    with redacting(redactor_of(VALUE)):
        assert sys.stdout is kept
        print(VALUE, file=kept)
    assert capsys.readouterr() == (f"after\n{MASK}\n", "after\n")


def test_streams_are_not_kept_alive() -> None:
    """What was put in place for a run goes with it."""
    with contextlib.redirect_stdout(io.StringIO()):
        with redacting(redactor_of(OTHER)):
            stream = weakref.ref(sys.stdout)
        gc.collect()
        assert stream() is None


def test_a_stream_closed_within_the_run_does_not_fail_it() -> None:
    """The step that closed it has its reasons."""
    closed = io.StringIO()
    with contextlib.redirect_stdout(closed), redacting(redactor_of(OTHER)):
        sys.stdout.write(CANARY[:3])
        closed.close()


def test_a_handler_from_before_the_run_is_masked(log: tuple[logging.Logger, io.StringIO]) -> None:
    """Messages, arguments and formats of all kinds."""
    logger, written = log
    with redacting(redactor_of(VALUE)):
        logger.info("plain %s", VALUE)
        logger.info("repr %r", {"a": [VALUE]})
        logger.info("mapping %(a)s", {"a": VALUE})
        logger.info(VALUE)
        logger.info(f"100% {VALUE}")  # noqa: G004
        logger.info("part %.3s", VALUE)
        logger.info(ValueError(VALUE))
        logger.info("clean %s", 1)
    shown = written.getvalue()
    assert not holds_canary(shown)
    assert shown.count(MASK) == 6
    assert f"100% {MASK}\n" in shown
    assert shown.endswith("clean 1\n")


def test_a_record_without_values_is_not_touched(log: tuple[logging.Logger, io.StringIO]) -> None:
    """Message and arguments stay apart, and the exception stays an exception, for handlers that want them so."""
    logger, _ = log
    records: list[logging.LogRecord] = []
    logger.addFilter(lambda record: records.append(record) is None)
    error = ValueError("clean")
    extra = {"nested": {"a": [1]}}
    with redacting(redactor_of(VALUE)):
        logger.error("clean %s", 1, exc_info=error, extra=extra)
    (record,) = records
    assert (record.msg, record.args) == ("clean %s", (1,))
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert vars(record)["nested"] is extra["nested"]


def test_exceptions_and_stacks_are_masked(log: tuple[logging.Logger, io.StringIO]) -> None:
    """A value in the message, the cause, a note or an attribute; `stack_info`; formatters that ask the record."""
    logger, written = log

    class AsJSON(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            error = record.exc_info[1] if record.exc_info else None
            attributes = {name: str(value) for name, value in vars(record).items()}
            return json.dumps(
                {
                    "message": record.getMessage(),
                    "error": repr(error),
                    "text": record.exc_text,
                    "vars": repr(getattr(error, "__dict__", None)),
                    **attributes,
                }
            )

    as_json = logging.StreamHandler(written)
    as_json.setFormatter(AsJSON())
    logger.addHandler(as_json)
    attributed = RuntimeError("attribute")
    attributed.detail = {"a": [VALUE]}  # type: ignore[attr-defined]
    noted = RuntimeError("note")
    noted.add_note(VALUE)
    caused = RuntimeError("caused")
    caused.__cause__ = KeyError(VALUE)

    def fail(error: Exception) -> None:
        raise error

    with redacting(redactor_of(VALUE)):
        for error in (ValueError(f"<{VALUE}>"), attributed, noted, caused, ExceptionGroup("group", [ValueError(VALUE)])):
            try:
                fail(error)
            except Exception:
                logger.exception("failed")
        logger.info("stack", stack_info=True)
    shown = written.getvalue()
    assert not holds_canary(shown)
    assert f"ValueError: <{MASK}>" in shown
    assert f"KeyError: '{MASK}'" in shown
    assert shown.count("Traceback") >= 10


def test_extras_are_masked_for_handlers_old_and_new(log: tuple[logging.Logger, io.StringIO]) -> None:
    """Attributes from `extra=`, nested ones too, also for a handler that was added within the run."""
    logger, written = log
    formatter = logging.Formatter("%(user)s %(data)s")
    logger.handlers[0].setFormatter(formatter)
    with redacting(redactor_of(VALUE)):
        late = logging.StreamHandler(written)
        late.setFormatter(formatter)
        logger.addHandler(late)
        child = logger.getChild("child")
        for one in (logger, child):
            one.info("message", extra={"user": VALUE, "data": {"deep": [(VALUE, VALUE.encode())]}})
        logger.removeHandler(logger.handlers[0])
        child.info("message", extra={"user": VALUE, "data": 1})
    assert not holds_canary(written.getvalue())
    assert written.getvalue().count(MASK) == 4 * 3 + 1
    assert late.filters == []


def test_a_message_that_does_not_fit_its_arguments(
    log: tuple[logging.Logger, io.StringIO], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What logging says about it on stderr is masked."""
    logger, _ = log
    del logger.handlers[1:]  # pytest's would raise
    monkeypatch.setattr(logging, "raiseExceptions", True)
    with redacting(redactor_of(VALUE)):
        logger.info("%d", VALUE)
        logger.info(f"%d {VALUE}", {"a": VALUE})  # noqa: G004
    err = capsys.readouterr().err
    assert "Logging error" in err
    assert not holds_canary(err)


def test_records_that_were_not_made_by_a_logger_are_masked(log: tuple[logging.Logger, io.StringIO]) -> None:
    """Such as those that come from another process."""
    logger, written = log
    with redacting(redactor_of(VALUE)):
        logger.handle(
            logging.makeLogRecord({"msg": "received %s", "args": (VALUE,), "name": logger.name, "levelno": 20, "exc_text": VALUE})
        )
    assert written.getvalue() == f"received {MASK}\n{MASK}\n"


def test_a_record_factory_put_on_top_stays(log: tuple[logging.Logger, io.StringIO]) -> None:
    """It is not thrown away at the end of the run, what is below it rests, and the next run masks again."""
    logger, written = log
    before = logging.getLogRecordFactory()

    def mine(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = below(*arguments, **named)
        record.mine = True
        return record

    try:
        with redacting(redactor_of(OTHER)):
            below = logging.getLogRecordFactory()
            logging.setLogRecordFactory(mine)
        assert logging.getLogRecordFactory() is mine
        logger.info("between %s", "runs")
        with redacting(redactor_of(VALUE)):
            logger.info("masked %s", VALUE)
        assert logging.getLogRecordFactory() is mine
    finally:
        logging.setLogRecordFactory(before)
    assert written.getvalue() == f"between runs\nmasked {MASK}\n"


def test_the_last_resort_is_masked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger without handlers writes warnings to stderr; not the values."""
    logger = logging.Logger.manager.getLogger(f"tests.redactor.lonely.{id(capsys)}")
    monkeypatch.setattr(logger, "propagate", False)
    with redacting(redactor_of(VALUE)):
        logger.warning("alone with %s", VALUE)
    assert capsys.readouterr().err == f"alone with {MASK}\n"


def test_warnings_are_masked() -> None:
    """`warnings.warn` with a value in the text, shown or made into a log record."""
    shown = in_a_terminal(
        """
import logging, warnings
with redacting(redactor):
    warnings.warn(f"careful with {value}")
    logging.captureWarnings(True)
    logging.basicConfig()
    warnings.warn(f"care for {value}")
"""
    )
    assert not holds_canary(shown)
    assert f"UserWarning: careful with {MASK}" in shown
    assert f"UserWarning: care for {MASK}" in shown


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_uncaught_exceptions_are_masked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread, in a finaliser, and by `traceback.print_exc`: Python prints them to the stream that masks."""
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)

    class Failing:
        def __del__(self) -> None:
            raise ValueError(VALUE)

    def fail() -> None:
        raise KeyError(VALUE)

    with redacting(redactor_of(VALUE)):
        in_threads(fail)
        Failing()
        gc.collect()
        try:
            fail()
        except KeyError:
            traceback.print_exc()
    err = capsys.readouterr().err
    assert not holds_canary(err)
    assert err.count(f"KeyError: '{MASK}'") == 2
    assert f"ValueError: {MASK}" in err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_repeat_what_is_held_back() -> None:
    """The parent writes it, once; the child masks on."""
    shown = in_a_terminal(
        """
with redacting(redactor):
    sys.stdout.write("<" + value[:5])
    sys.stdout.flush()
    if not (child := os.fork()):
        print("child", value, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(value[5:] + ">")
"""
    )
    assert not holds_canary(shown)
    assert shown == f"<child {MASK}\r\n{MASK}>\r\n"


def test_in_a_terminal() -> None:
    """The streams remain a terminal, prompts appear before the answer, and nothing of a value is seen, not even at the end."""
    code = """
with redacting(redactor):
    print("terminal:", sys.stdout.isatty(), sys.stderr.isatty(), os.isatty(sys.stdout.fileno()))
    answer = input("Continue? ")
    sys.stdout.write("Again? ")
    sys.stdout.flush()
    answer += sys.stdin.readline().strip()
    print("value", value, answer)
    for character in value:
        print(character, end="", flush=True)
    print()
    print(repr(value), file=sys.stderr)
    raise SystemExit(3)
"""
    terminal = pexpect.spawn(sys.executable, ["-c", PREPARE + code], encoding="utf-8", timeout=60, echo=False)
    shown = io.StringIO()
    terminal.logfile_read = shown
    terminal.expect_exact("terminal: True True True\r\n")
    terminal.expect_exact("Continue? ")
    terminal.sendline("yes")
    terminal.expect_exact("Again? ")
    terminal.sendline("no")
    terminal.expect_exact(f"value {MASK} yesno\r\n{MASK}\r\n'{MASK}'\r\n")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 3
    assert not holds_canary(shown.getvalue())


def test_what_is_no_secrets_value_can_be_masked_in_all_runs() -> None:
    """In each that is under way, and in none that begins later; outside of a run nothing happens."""
    mask(SecretText(f"{CANARY}-token"))
    first, second, later = Redactor(), Redactor(), Redactor()
    with redacting(first), redacting(second):
        assert first.redact(f"{CANARY}-token") == f"{CANARY}-token"
        mask(SecretText(f"{CANARY}-token"))
        assert first.redact(f"{CANARY}-token") == second.redact(f"{CANARY}-token") == MASK
    with redacting(later):
        assert later.redact(f"{CANARY}-token") == f"{CANARY}-token"
