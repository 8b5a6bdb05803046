"""The image, as far as that goes without an engine.

Each RUN of the Dockerfile is executed with its folders moved into one of the test's own, on this machine's Python in place of the
base image; then the server of the last stage is started as its user, with its variables, and asked by its health check. What is not
proved here: the base image, and what an engine makes of USER, VOLUME and a read-only root file system.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.chart import ROOT
from tests.deploy.dockerfile import Stage, moved, read_dockerfile, sent_to_the_builder
from tests.servers.strongroom import free_port

DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
USER = 10001
NO_NETWORK = re.compile(r"NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|Temporary failure in name resolution")


@pytest.fixture(scope="module")
def stages() -> tuple[Stage, Stage]:
    """The one that builds, and the one that is shipped."""
    build, shipped = read_dockerfile(DOCKERFILE)
    return build, shipped


def test_the_linter_has_nothing_to_say(programs: Path) -> None:
    """hadolint, with all its rules and those of shellcheck."""
    done = subprocess.run([programs / "hadolint", "--no-color", DOCKERFILE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_only_what_the_image_needs_is_sent() -> None:
    """Neither history, tests, documents nor anything that somebody keeps beside the code reaches the builder."""
    sent = {path.relative_to(ROOT).as_posix() for path in sent_to_the_builder(ROOT, ROOT / ".dockerignore")}
    rest = {name for name in sent if not name.startswith(("src/strongroom/", "requirements/"))}
    assert rest == {"README.md", "pyproject.toml", "deploy/docker/healthcheck.py"}
    assert not any("__pycache__" in name for name in sent)


def test_what_is_shipped(stages: tuple[Stage, Stage]) -> None:
    """Nothing of the builder but the environment; no root, fixed ids, volumes for what is written, a health check without a shell."""
    build, shipped = stages
    assert build.base == shipped.base == "${PYTHON_IMAGE}"
    assert [rest for rest in shipped.all("COPY") if "--from" in rest] == ["--from=build /opt/strongroom /opt/strongroom"]
    assert shipped.all("USER") == [f"{USER}:{USER}"]
    assert shipped.words("VOLUME") == [shipped.environment["STRONGROOM_CONFIG_PATH"], "/tmp"]
    assert not re.search(r"\b(curl|wget|apt-get|gcc)\b", DOCKERFILE.read_text())
    assert "pip uninstall" in " ".join(shipped.all("RUN"))
    names = [name for name, _ in shipped.instructions]
    assert names.index("USER") > max(place for place, name in enumerate(names) if name == "RUN")
    assert shipped.words("HEALTHCHECK")[0] == "python"
    for rest in [*build.all("COPY"), *shipped.all("COPY")]:
        for source in rest.split()[:-1]:
            assert source.startswith("--from") or rest.startswith("--from") or (ROOT / source).exists(), source


def test_every_install_is_by_hash(stages: tuple[Stage, Stage]) -> None:
    """Each package comes as a wheel with a hash that is written down, or from a file that was built here."""
    for run in [each for stage in stages for each in stage.all("RUN")]:
        for command in run.split("&&"):
            if re.search(r"\bpip\b.* install\b", command):
                by_hash = "--require-hashes" in command and "--only-binary=:all:" in command
                assert by_hash or "--no-index" in command, command


def test_each_extra_has_requirements() -> None:
    """Those that the Dockerfile names are extras of the distribution, and are pinned at the versions that the tests run with."""
    import tomllib

    named = re.search(r"^# EXTRAS are files of requirements/: ([a-z ]+)\.", DOCKERFILE.read_text(), re.MULTILINE)
    assert named
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    tested = pins(ROOT / "requirements" / "test.txt")
    for extra in named[1].split():
        assert extra in extras
        found = pins(ROOT / "requirements" / f"{extra}.txt")
        assert found.items() <= tested.items()
        assert {re.split(r"[<>=\[]", each)[0] for each in extras[extra]} <= found.keys()


def pins(path: Path) -> dict[str, str]:
    """The versions in a file of requirements."""
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,-]+\])?==([^ ]+)", path.read_text(), re.MULTILINE))


@dataclass
class Built:
    """What the steps left: the root of the image, and its variables."""

    root: Path
    environment: dict[str, str]

    def command(self, words: list[str]) -> list[str]:
        """A command of the image."""
        program, *rest = (moved(word, {"/opt": self.root / "opt"}) for word in words)
        found = shutil.which(program, path=self.environment["PATH"])
        assert found, program
        return [found, *rest]


@pytest.fixture
def built(stages: tuple[Stage, Stage]) -> Iterator[Built]:
    """All steps, one after the other, with the extra `vault`."""
    with tempfile.TemporaryDirectory(prefix="strongroom-image-", dir="/tmp") as folder:
        root = Path(folder)
        root.chmod(0o755)
        build, shipped = stages
        places = {each: root / each[1:] for each in ("/opt", "/build", "/var/lib/strongroom")}
        for place in ("build", "var/lib", "opt", "tmp", "bin"):
            (root / place).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        for stub in ("groupadd", "useradd"):  # they would change this machine
            (root / "bin" / stub).write_text("#!/bin/sh\n")
            (root / "bin" / stub).chmod(0o755)
        for sent in sent_to_the_builder(ROOT, ROOT / ".dockerignore"):
            target = root / "build" / sent.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sent, target)
        for number, stage in enumerate((build, shipped)):
            _run_steps(stage, root, root / f"python{number}", places)
        shutil.copyfile(ROOT / "deploy" / "docker" / "healthcheck.py", root / "opt" / "strongroom" / "healthcheck.py")
        environment = {name: moved(text, places) for name, text in shipped.environment.items()}
        environment["PATH"] = environment["PATH"].replace("$PATH", os.defpath)
        yield Built(root, environment | {"TMPDIR": str(root / "tmp")})


def _run_steps(stage: Stage, root: Path, python: Path, places: dict[str, Path]) -> None:
    """Executes each RUN with a Python that has pip, as the base image has one."""
    subprocess.run([sys.executable, "-m", "venv", python], check=True, timeout=120)
    environment = {
        "PATH": f"{root / 'bin'}:{python / 'bin'}:{os.defpath}",
        "HOME": pwd.getpwuid(os.getuid()).pw_dir,  # there are pip's settings
        "EXTRAS": "vault",
        **{name: text for name, text in stage.environment.items() if name.startswith("PIP_")},
    }
    for command in stage.all("RUN"):
        done = subprocess.run(
            ["sh", "-c", moved(command, places)],
            env=environment, cwd=root / "build", capture_output=True, text=True, timeout=250,
        )  # fmt: skip
        if done.returncode and NO_NETWORK.search(done.stderr):
            pytest.skip("the packages of the image cannot be fetched: there is no network")
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def test_the_steps_make_a_server(built: Built, stages: tuple[Stage, Stage]) -> None:
    """It starts, as the image's user where this machine's Python lets it, says that it is healthy, writes to the volumes alone, and
    ends in order. It has the packages of the wanted extra, and finds code for a custom store.
    """
    shipped = stages[1]
    assert not (built.root / "python1" / "bin" / "pip").exists()
    port = free_port()
    command = built.command([*shipped.words("ENTRYPOINT"), *shipped.words("CMD")])
    command[command.index("0.0.0.0")], command[command.index("8200")] = "127.0.0.1", str(port)
    health = built.environment["HEALTH_URL"].replace("8200", str(port))
    environment = built.environment | {"HEALTH_URL": health}
    unprivileged = {"user": USER, "group": USER, "extra_groups": []} if _others_may_run_python() and os.geteuid() == 0 else {}
    before = files(built.root)

    def healthy() -> int:
        check = built.command(shipped.words("HEALTHCHECK"))
        return subprocess.run(check, env=environment, cwd="/", stdout=subprocess.DEVNULL, timeout=20, **unprivileged).returncode

    assert healthy() == 1
    with (built.root / "tmp" / "log").open("wb") as log:
        server = subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **unprivileged,
        )
    try:
        deadline = time.monotonic() + 60
        while healthy() != 0:
            text = (built.root / "tmp" / "log").read_text()
            assert server.poll() is None, text
            assert time.monotonic() < deadline, text
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(30)
    written = files(built.root) - before
    assert {path.relative_to(built.root).parts[0] for path in written} <= {"tmp", "var"}
    assert any(path.name == "strongroom.db" for path in written)
    check_what_is_installed(built)
    check_custom_code(built)


def check_what_is_installed(built: Built) -> None:
    """The builder's argument brought the package of the extra, and no other's; there is no pip."""
    others = "('boto3', 'azure', 'pip', 'pytest')"
    code = f"import hvac, psycopg, granian, importlib.util as u; print([name for name in {others} if u.find_spec(name)])"
    done = subprocess.run(built.command(["python", "-c", code]), env=built.environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def check_custom_code(built: Built) -> None:
    """A module in /opt/custom is imported, so a custom store needs one COPY."""
    custom = built.root / "opt" / "custom"
    (custom / "my_store.py").write_text("FOUND = True\n")
    done = subprocess.run(
        built.command(["python", "-c", "import my_store; print(my_store.FOUND)"]),
        env=built.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr


def _others_may_run_python() -> bool:
    """Not when it lies in somebody's home."""
    return all(folder.stat().st_mode & 0o001 for folder in Path(sys.executable).resolve().parents)


def files(root: Path) -> set[Path]:
    """All files below a folder."""
    return {path for path in root.rglob("*") if path.is_file()}
