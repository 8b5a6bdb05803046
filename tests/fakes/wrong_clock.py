"""`python -m tests.fakes.wrong_clock SECONDS ...` is `python -m strongroom ...` on a machine whose clock is wrong by so much.

All its processes have the wrong clock; what they measure times with (`time.monotonic`) is right. Debian's `faketime` does the same
from outside, but makes `time.sleep` fail.
"""

from __future__ import annotations

import os
import runpy
import sys
import time

import time_machine

_VARIABLE = "WRONG_CLOCK_SECONDS"

if __name__ == "__main__":
    os.environ[_VARIABLE] = sys.argv.pop(1)
time_machine.travel(time.time() + float(os.environ[_VARIABLE]), tick=True).start()  # processes that are spawned come by here, too
if __name__ == "__main__":
    runpy.run_module("strongroom", run_name="__main__")
