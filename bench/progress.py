"""Says on stderr what is being done: one line that is rewritten on a terminal, one line per row elsewhere."""

import shutil
import sys


class Progress:
    """Not for output: the table goes to stdout."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = ""

    def say(self, text: str) -> None:
        """Something that takes long begins."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{text[:width]}", end="", file=sys.stderr, flush=True)
        elif text != self._last:
            print(text, file=sys.stderr, flush=True)
        self._last = text

    def detail(self, row: str, text: str) -> None:
        """How far a row is; only the row's name off a terminal."""
        self.say(f"{row}: {text}" if self._terminal else f"measuring {row}")

    def done(self) -> None:
        """Clear the line."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
