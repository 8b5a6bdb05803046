"""The keys that a connection to AWS signs with, kept alive.

They are got when they are first needed and renewed in good time. While a renewal is under way or fails, those at hand work on;
when AWS says that they are dead, whoever was told gets others. There is no state of failure: each call tries anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from strongroom import forking
from strongroom.connectors.aws_methods import Ambient, AwsMethod, Exchange, Keys
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.options import import_extra
from strongroom.errors import StoreForbidden, StrongroomError, Unavailable
from strongroom.redaction import SecretText

_RENEW_AFTER = 2 / 3
_TRY_AGAIN_AFTER = 5.0
_LOOK_AGAIN_AFTER = 60.0

Ask = Callable[[Exchange, Keys | None, Deadline], Any]
"""Asks STS: gives its answer, or raises `StoreForbidden` or `Unavailable`."""

Quietly = Callable[[Callable[[], Any]], Any]
"""Calls something while the SDK's debug log, which shows credentials, is off."""


@dataclass(frozen=True)
class Lease:
    """Keys, and until when they are good, on the monotonic clock."""

    keys: Keys | None
    renew_at: float | None = None
    ends: float | None = None
    """None: it has no end, or none that we may know."""

    def is_alive(self) -> bool:
        """Whether they still work, as far as one can know from here."""
        return self.ends is None or time.monotonic() < self.ends


class AwsLogin:
    """Thread-safe; only one thread logs in at a time, and none waits longer than its deadline."""

    def __init__(self, method: AwsMethod, ask: Ask, quietly: Quietly) -> None:
        self._method, self._ask, self._quietly = method, ask, quietly
        self._lease: Lease | None = None
        self._turn = forking.renewed(self, "_turn", threading.Lock)
        self._ambient = _AmbientKeys(quietly)

    def lease(self, deadline: Deadline, dead: Lease | None = None) -> Lease:
        """Keys that are alive; others than the `dead` ones. `StoreForbidden`, `Unavailable`."""
        lease = self._lease
        if lease is not None and lease is not dead:
            if lease.renew_at is None or time.monotonic() < lease.renew_at:
                return lease
            if lease.is_alive() and self._turn.locked():
                return lease  # somebody renews them; meanwhile they work
        if not self._turn.acquire(timeout=deadline.left()):
            raise Unavailable("AWS did not answer a login in time")
        try:
            current = self._lease
            if current is None or current is dead or not current.is_alive():
                current = self._log_in(deadline, dead)
            elif current is lease:
                current = self._renewed(current, deadline)
            self._lease = current
            return current
        finally:
            self._turn.release()

    def _renewed(self, lease: Lease, deadline: Deadline) -> Lease:
        """Fresh keys, or the same: as long as they are alive, no failure is the caller's, who needs time for what it came for."""
        try:
            return self._log_in(Deadline(deadline.left() / 2), None)
        except (Unavailable, StoreForbidden):  # whoever asks when they are dead is told
            return replace(lease, renew_at=time.monotonic() + _TRY_AGAIN_AFTER)

    def _log_in(self, deadline: Deadline, dead: Lease | None) -> Lease:
        base = self._method.base()
        exchange = self._method.exchange()
        if isinstance(base, Ambient):
            if dead is not None:
                self._ambient.forget()
            lease = self._ambient.lease(base, deadline)
            keys = lease.keys
        else:
            keys, lease = base, Lease(base)
        if exchange is not None:
            try:
                return _lease_of(self._ask(exchange, keys, deadline))
            except StoreForbidden:
                self._ambient.forget()  # they may be dead, and others in their place
                raise
        if dead is not None and dead.keys == lease.keys:
            raise StoreForbidden(
                "AWS does not take the access key or token: it is unknown, was deactivated or has expired",
                hint="give a new one, or a method that renews it by itself",
            )
        return lease


class _AmbientKeys:
    """What the SDK's own chain finds. It may ask servers without a limit of time, so it does in a thread, and callers wait."""

    def __init__(self, quietly: Quietly) -> None:
        self._quietly = quietly
        # The SDK's own object has locks; the thread that looks is not in a forked child.
        self._found: Any = forking.renewed(self, "_found", lambda: None)
        self._under_way: Future[Any] | None = forking.renewed(self, "_under_way", lambda: None)

    def forget(self) -> None:
        """Next time, files and servers are looked at again."""
        self._found = None

    def lease(self, ambient: Ambient, deadline: Deadline) -> Lease:
        """Never called by two threads at once."""
        if self._under_way is None:
            self._under_way = Future()
            threading.Thread(target=self._look, args=(ambient, self._under_way), name="aws-credentials", daemon=True).start()
        try:
            found = self._under_way.result(deadline.left())
        except TimeoutError:
            found = Unavailable("the credentials of this place did not come in time; AWS was not asked")
        else:
            self._under_way = None
        if isinstance(found, StrongroomError):
            raise found
        keys, lasts = found
        return Lease(keys, None if lasts else time.monotonic() + _LOOK_AGAIN_AFTER)

    def _look(self, ambient: Ambient, result: Future[Any]) -> None:
        try:
            result.set_result(self._quietly(lambda: self._answer(ambient)))
        except BaseException as error:  # noqa: BLE001 - whoever waits is told, in its thread
            result.set_exception(error)

    def _answer(self, ambient: Ambient) -> tuple[Keys, bool] | StrongroomError:
        exceptions = import_extra("botocore.exceptions", "aws")
        credentials = import_extra("botocore.credentials", "aws")
        try:
            if self._found is None:
                self._found = import_extra("botocore.session", "aws").Session(profile=ambient.profile_name).get_credentials()
            if self._found is None:
                return StoreForbidden(
                    "there are no credentials for AWS in this place", hint="give it a role, or choose a method with a credential"
                )
            frozen = self._found.get_frozen_credentials()
        except exceptions.ProfileNotFound:
            return StoreForbidden("there is no profile of this name in the configuration of AWS", hint="check 'profile_name'")
        except (exceptions.HTTPClientError, exceptions.MetadataRetrievalError) as error:
            return Unavailable(f"what gives this place its credentials for AWS is out of reach: {type(error).__name__}")
        except exceptions.ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
                return Unavailable(f"what gives this place its credentials for AWS does not work: {code}")
            return StoreForbidden(f"this place is refused credentials for AWS: {code}")
        except (exceptions.BotoCoreError, OSError) as error:
            return StoreForbidden(f"the credentials of this place for AWS cannot be used: {type(error).__name__}")
        token = SecretText(frozen.token) if frozen.token else None
        keys = Keys(access_key_id=frozen.access_key, secret_access_key=SecretText(frozen.secret_key), session_token=token)
        return keys, not isinstance(self._found, credentials.RefreshableCredentials)


def _lease_of(answer: Any) -> Lease:
    given = answer["Credentials"]
    keys = Keys(
        access_key_id=given["AccessKeyId"],
        secret_access_key=SecretText(given["SecretAccessKey"]),
        session_token=SecretText(given["SessionToken"]),
    )
    now, seconds = time.monotonic(), (given["Expiration"] - datetime.now(UTC)).total_seconds()
    return Lease(keys, now + seconds * _RENEW_AFTER, now + seconds)
