"""One transaction for all that a call changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType

from sqlalchemy import Connection

from strongroom.db.failures import DATABASE_ERRORS, DatabaseError
from strongroom.errors import StrongroomError

Opening = Callable[[], AbstractContextManager[Connection]]
Nesting = Callable[[Connection], AbstractContextManager[object]]


class Unit:
    """A transaction that begins with the first `part` and is committed when the block of `Database.unit` ends.

    An exception from the first part undoes the transaction, so that the next part begins a new one; an exception from a later part
    undoes that part alone. For the thread that entered the block.
    """

    def __init__(self, begin: Opening, nest: Nesting, failed: Callable[[DatabaseError], StrongroomError], *, joined: bool) -> None:
        self._begin, self._nest, self._failed, self._stack = begin, nest, failed, ExitStack()
        self._then: list[Callable[[], object]] = []
        self.on_begin: Callable[[Connection], object] | None = None
        """Is called with the connection of each transaction that the unit begins, before anything is changed."""
        self.has_ended = False
        self.joined = joined
        """Whether it is a part of a larger transaction, which its caller commits."""
        self.connection: Connection | None = None
        """The transaction's connection; None while nothing was changed."""

    @contextmanager
    def part(self) -> Iterator[Connection]:
        """A block that is atomic within the transaction."""
        if self.connection is not None:
            try:
                with self._nest(self.connection):
                    yield self.connection
            except DATABASE_ERRORS as error:
                raise self._failed(error) from error
            return
        with ExitStack() as stack:
            connection = stack.enter_context(self._begin())
            if self.on_begin is not None:
                self.on_begin(connection)
            self.connection = connection
            try:
                yield connection
            except BaseException:
                self.connection = None
                raise
            self._stack = stack.pop_all()

    def after_commit(self, call: Callable[[], object]) -> None:
        """Calls this once the transaction is committed, and never if it is undone."""
        self._then.append(call)

    def __enter__(self) -> Unit:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.has_ended, self.connection = True, None
        self._stack.__exit__(kind, error, trace)
        if error is None:
            for call in self._then:
                call()
