"""A worker process of a server: how it opens the application, shows that it is well, and ends with the main process."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

from strongroom.config import Settings
from strongroom.errors import ConfigurationError, Unavailable
from strongroom.server import signals
from strongroom.server.heartbeat import BEAT_SECONDS, Heartbeat
from strongroom.server.supervisor import MISCONFIGURED
from strongroom.service.wiring import Service

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while another one wants it; that one may hold the database's only write lock."""

RETRY_SECONDS = 0.5
"""How often a worker looks whether the database is there, when it starts."""

ORPHAN_SECONDS = 1.0
"""How long a worker may take to end by itself when the main process is gone."""

_PR_SET_PDEATHSIG = 1


def open_app(settings: Settings, main: int, heartbeat: Heartbeat) -> Any:
    """The application of one worker. It waits for a database that is down; a wrong configuration ends the process.

    `main` is the main process.
    """
    threading.Thread(target=_live, args=(main, heartbeat), name="life", daemon=True).start()
    from strongroom.server.app import build_app  # prometheus_client chooses its mode when it is imported: in the worker
    from strongroom.server.log import open_log

    sys.setswitchinterval(SWITCH_SECONDS)
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # it shows tracebacks; the caller gets an error
    told = False
    while True:
        try:
            app = build_app(Service(settings), heartbeat)
        except Unavailable as error:
            if not told:
                open_log().warning("waiting", reason=error.message)
            told = True
            with signals.let_go():
                time.sleep(RETRY_SECONDS)
        except ConfigurationError as error:
            open_log().error("cannot start", reason=error.message, hint=error.hint)
            sys.exit(MISCONFIGURED)
        else:
            # What is loaded stays: to look through all of it for garbage took 40 ms at a time, perhaps with the write lock held.
            gc.collect()
            gc.freeze()
            return app


def end_with(main: int) -> None:
    """Has the kernel end this process, also one that is stopped, when the main process ends. Linux alone can; see `_live`.

    To be called in the child after a fork, by the thread that the main process's main thread has become.
    """
    if sys.platform == "linux" and os.getppid() == main:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != main:  # it ended just before that
            os._exit(1)


def _live(main: int, heartbeat: Heartbeat) -> None:
    """Gives signs of life, and ends this worker when the main process is gone: it would keep others from the port."""
    while os.getppid() == main:
        heartbeat.beat()
        time.sleep(BEAT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)
