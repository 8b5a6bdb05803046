"""The encryption key in a real keyring of the operating system: GNOME's Secret Service on a D-Bus session of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
printf '\\n' | gnome-keyring-daemon --unlock --components=secrets --foreground >/dev/null 2>&1 &
daemon=$!
trap 'kill $daemon' EXIT
# Asking for the name's owner, unlike calling it, starts no second daemon that nobody has unlocked.
until dbus-send --session --print-reply --dest=org.freedesktop.DBus /org/freedesktop/DBus \
    org.freedesktop.DBus.NameHasOwner string:org.freedesktop.secrets | grep -q 'boolean true'; do kill -0 $daemon; done
key="$STRONGROOM_CONFIG_PATH/encryption.key"

STRONGROOM_ENCRYPTION_KEY_STORE=keyring strongroom secret create s --k=v
test ! -e "$key"
test "$(strongroom secret get s --key k)" = v           # found without the setting

strongroom server rotate-key --to file
test -e "$key"
test "$(strongroom secret get s --key k)" = v

strongroom server rotate-key --to keyring
test ! -e "$key"
test "$(strongroom secret get s --key k)" = v

strongroom server rotate-key                             # stays where it is
test ! -e "$key"
test "$(strongroom secret get s --key k)" = v
"""


@pytest.mark.skipif(
    shutil.which("gnome-keyring-daemon") is None or shutil.which("dbus-run-session") is None,
    reason="gnome-keyring is not installed; with Debian: apt-get install gnome-keyring dbus-bin",
)
def test_key_lives_in_the_keyring_and_moves(tmp_path: Path) -> None:
    """A key is made in the keyring, found there again, and moved to a file and back by rotations."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(runtime),
        "LANG": "C.UTF-8",
        "STRONGROOM_CONFIG_PATH": str(tmp_path / "store"),
    }
    done = subprocess.run(
        ["dbus-run-session", "--", "bash", "-euc", SCRIPT], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
