"""Fresh ids."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid

from strongroom import forking

_lock = forking.renewed(sys.modules[__name__], "_lock", threading.RLock)
_last = 0


def new_id() -> str:
    """A UUIDv7 (RFC 9562, method 3): millisecond, 12 bits of its fraction, 62 random bits.

    Within a process each one is greater than the one before; across processes they sort as their clocks do. Thread-safe.
    """
    global _last
    now = time.time_ns()
    stamp = now // 1_000_000 << 12 | (now % 1_000_000 << 12) // 1_000_000
    with _lock:
        stamp = _last = max(stamp, _last + 1)
    bits = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | int.from_bytes(os.urandom(8), "big") >> 2
    return str(uuid.UUID(int=bits))
