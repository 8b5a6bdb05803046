"""A token of Entra that is kept alive: fetched when it is first needed, and anew in good time, while the old one still works.

Each login has a thread of its own, and all who need its token wait for it, each as long as it has time. Some ways of logging in
cannot be told how long they may take (Azure's command line), so the caller's time may end first.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from strongroom import forking
from strongroom.connectors.deadline import Deadline
from strongroom.errors import StrongroomError, Unavailable
from strongroom.redaction import SecretText

_RENEW_BEFORE = 300.0
_TRY_AGAIN_AFTER = 5.0
_RENEWAL_SECONDS = 10.0
_THREAD = "strongroom-azure-login"


@dataclass(frozen=True)
class Token:
    """With times of the monotonic clock."""

    text: SecretText
    renew_at: float = float("inf")
    ends_at: float = float("inf")

    @staticmethod
    def of_sdk(given: Any) -> Token:
        """As azure-identity gives it."""
        now, life = time.monotonic(), given.expires_on - time.time()
        renew_after = max(life - _RENEW_BEFORE, life * 2 / 3)
        if given.refresh_on is not None:
            renew_after = min(renew_after, max(given.refresh_on - time.time(), 0))
        return Token(SecretText(given.token), now + renew_after, now + life)


class TokenKeeper:
    """Thread-safe. There is no state of failure: whoever needs a token and finds none makes a try."""

    def __init__(self, fetch: Callable[[Deadline], Token]) -> None:
        """`fetch` logs in, and raises errors of strongroom only."""
        self._fetch = fetch
        self._lock = forking.renewed(self, "_lock", threading.Lock)
        self._token: Token | None = None
        self._login: _Login | None = None

    def token(self, deadline: Deadline, dead: Token | None = None) -> Token:
        """One that is alive as far as one can know from here, and not the dead one. Errors of the login, or `Unavailable`."""
        token = self._token
        if token is not None and token is not dead and time.monotonic() < token.renew_at:
            return token
        while True:
            found, is_own = self._begin(deadline, dead)
            if isinstance(found, Token):
                return found
            if not found.ended.wait(deadline.left()):
                raise Unavailable("the login to Azure takes too long")
            if found.token is not None:
                return found.token
            if is_own or not (found.ran_out_of_time or found.is_renewal):
                raise copy.copy(found.failure or Unavailable("the login to Azure failed"))  # its own for each that waited

    def _begin(self, deadline: Deadline, dead: Token | None) -> tuple[Token | _Login, bool]:
        """A token that still works, or the login to wait for, with whether it was begun here. Nobody waits for a renewal."""
        with self._lock:
            token, login = self._token, self._login
            if token is not None and (token is dead or time.monotonic() >= token.ends_at):
                token = self._token = None
            if token is not None and time.monotonic() < token.renew_at:
                return token, False  # somebody else was faster
            if login is not None and login.is_under_way():
                return token or login, False
            login = _Login(self._keep, Deadline(_RENEWAL_SECONDS) if token else deadline, is_renewal=token is not None)
            with suppress(RuntimeError):  # no more threads
                login.start()
                self._login = login
                return token or login, True
        raise Unavailable("there is no room for a login to Azure in this process")

    def _keep(self, deadline: Deadline) -> Token:
        try:
            token = self._fetch(deadline)
        except StrongroomError:
            with self._lock:
                if self._token is not None:  # whoever asks when it is dead is told
                    self._token = replace(self._token, renew_at=time.monotonic() + _TRY_AGAIN_AFTER)
            raise
        with self._lock:
            self._token = token
        return token


class _Login(threading.Thread):
    """One login for all that wait for it."""

    def __init__(self, fetch: Callable[[Deadline], Token], deadline: Deadline, *, is_renewal: bool) -> None:
        super().__init__(name=_THREAD, daemon=True)
        self._fetch, self._deadline, self.is_renewal = fetch, deadline, is_renewal
        self.ended = forking.renewed(self, "ended", threading.Event)
        self.token: Token | None = None
        self.failure: StrongroomError | None = None
        self.ran_out_of_time = False

    def is_under_way(self) -> bool:
        """Not so in a process that was forked from the one that began it."""
        return self.is_alive() and not self.ended.is_set()

    def run(self) -> None:
        """Logs in."""
        try:
            self.token = self._fetch(self._deadline)
        except StrongroomError as error:
            self.failure = error
            self.ran_out_of_time = self._deadline.remaining() <= 0
        finally:
            self.ended.set()


def quieten() -> None:
    """Drops what the SDK logs in these threads: our errors say what is wrong, and what others sent is in its words.

    To be called when the SDK is loaded. Logins that somebody else makes by the same SDK are logged as ever.
    """
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.startswith(("azure.", "msal")) and isinstance(logger, logging.Logger):
            logger.addFilter(_is_from_elsewhere)  # once, however often it is added


def _is_from_elsewhere(record: logging.LogRecord) -> bool:
    return record.threadName != _THREAD
