"""The unit of systemd: it is understood, it is careful, and what it says starts a server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from strongroom.config import PREFIX, Settings
from tests.callers import Caller
from tests.deploy.chart import ROOT
from tests.servers.strongroom import PASSWORD, StrongroomServer

UNIT = ROOT / "deploy" / "systemd" / "strongroom.service"
EXPOSURE = 1.5
"""As systemd rates it: 0 is a service that can do nothing, 10 one that may do anything."""
_PR_SET_MDWE = 65


def settings_of(name: str) -> list[str]:
    """All values of a setting."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


@pytest.fixture
def analyze() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The program of systemd that reads units; it starts nothing."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed; with Debian: apt-get install systemd")
    return lambda *words: subprocess.run([program, *words], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_understands_it(analyze: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """No setting is unknown or misspelt. (The program's path is replaced by one that is here.)"""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/strongroom/bin/strongroom", sys.executable))
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(f"{unit.read_text()}\n[Service]\nProtectSystm=strict\n")
    assert "ProtectSystm" in analyze("verify", str(unit)).stderr


def test_systemd_finds_it_careful(analyze: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Its rating of what the service could do is near the least."""
    done = analyze("security", "--offline=true", "--no-pager", str(UNIT))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE


def test_nothing_sensitive_is_in_it() -> None:
    """Variables name files that systemd hands over; an environment can be read by `systemctl show`."""
    credentials = {each.partition(":")[0] for each in settings_of("LoadCredential")}
    for each in settings_of("Environment"):
        name, _, text = each.partition("=")
        if re.search("PASSWORD|KEY|TOKEN|URL|CONFIG_FILE", name):
            assert text.removeprefix("%d/") in credentials


def test_what_it_says_starts_a_server(new_postgresql_settings: Settings, tmp_path: Path) -> None:
    """With its variables and files in place of credentials; where the kernel can do that, no memory is both written and executed."""
    assert new_postgresql_settings.encryption_key is not None
    given = {"database_url": new_postgresql_settings.database_url, "admin_username": "root", "admin_password": PASSWORD}
    (tmp_path / "strongroom.yaml").write_text(yaml.safe_dump(given))
    (tmp_path / "encryption-key").write_text(new_postgresql_settings.encryption_key)
    pairs = [
        each.replace("%d", str(tmp_path)).replace("/var/lib", str(tmp_path)).partition("=") for each in settings_of("Environment")
    ]
    variables = {name.removeprefix(PREFIX): text for name, _, text in pairs if name.startswith(PREFIX)}
    (command,) = settings_of("ExecStart")
    words = command.split()
    assert words[1:7] == ["server", "start", "--host", "127.0.0.1", "--port", "8200"]
    server = RestrictedServer(variables, *words[7:])
    try:
        with server.connections() as pool:
            assert Caller(server, pool).log_in("root").call("GET", "/info").status == 200
    finally:
        server.stop()


class RestrictedServer(StrongroomServer):
    """A server that may not have memory which is written and executed, as with MemoryDenyWriteExecute."""

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _RESTRICTED, "server", "start", "--port", str(self.port), *self._options],
                env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip


_RESTRICTED = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl({_PR_SET_MDWE}, 1, 0, 0, 0)  # an old kernel refuses, and nothing is restricted
os.execv(sys.executable, [sys.executable, "-m", "strongroom", *sys.argv[1:]])
"""


def test_the_restriction_is_one() -> None:
    """In a process that is started so, memory that is both cannot be had; otherwise the test above would prove nothing."""
    code = _RESTRICTED.replace('"-m", "strongroom", *sys.argv[1:]', '"-c", sys.argv[1]')
    attempt = "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)"
    done = subprocess.run([sys.executable, "-c", code, attempt], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 0:
        pytest.skip("this kernel cannot refuse memory that is written and executed: it is older than 6.3")
    assert "PermissionError" in done.stderr
