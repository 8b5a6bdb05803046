"""`strongroom server`: administering the store that this machine runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli.command import Command, Group
from strongroom.cli.output import output_option, say, show_data, show_fields, show_line, write
from strongroom.cli.prompts import confirm

if TYPE_CHECKING:
    from strongroom.service.stores import Examination


@click.group("server", cls=Group)
def server() -> None:
    """Administer the store that this machine runs."""


@server.command("check-stores", cls=Command)
@click.option("--policy", is_flag=True, help="Show just what has to be allowed, to be copied.")
@click.option(
    "--take-over", is_flag=True, help="Take the stores over from other databases of this deployment, none of which is used any more."
)
@click.option("-y", "--yes", is_flag=True, help="Take over without a question.")
@output_option
def check_stores(policy: bool, take_over: bool, yes: bool, output: str | None) -> None:
    """Try out the configured secrets stores: log in, write, read, list and delete.

    What is written is deleted again, and holds nothing secret. Where something is refused, the least that has to be allowed is shown.
    The exit status is 1 if a store does not do all that strongroom needs, or if primary and backup are one place.

    After a database was moved or restored, nothing is deleted in its stores, because another copy of it might still use them.
    Use --take-over when none does.
    """
    from strongroom.client.administration import examine_stores
    from strongroom.config import read_settings

    if take_over and not yes and not confirm("Is every other copy of this deployment's database out of use?"):
        say("Nothing was changed.")
        raise click.exceptions.Exit(1)
    found = examine_stores(read_settings(), take_over=take_over)
    if output:
        show_data([_examination(each) for each in found], output)
    elif policy:
        for each in found:
            if each.policy:
                write(each.policy)
            else:
                say(f"The secrets store of type {each.kind} needs no policy.")
    else:
        for each in found:
            _tell(each)
        if not found:
            say("No secrets are kept here: the secrets store is of type 'none'.")
    if not all(each.is_fine for each in found):
        raise click.exceptions.Exit(1)


@server.command("recover", cls=Command, short_help="Make the secrets of a lost database anew from the secrets store.")
@click.option(
    "--deployment", "lost_id", metavar="ID", help="The deployment whose database is lost. Without it: list those in the store."
)
@click.option("--dry-run", is_flag=True, help="Say what would be restored, and change nothing.")
@output_option
def recover(lost_id: str | None, dry_run: bool, output: str | None) -> None:
    """Make the secrets of a lost database anew from the secrets store, in a new and empty database.

    Names, workspaces, scopes, keys, values and versions come back; the newest version of each is the current one. Lost are users and
    their roles, service accounts, stacks, runs and the audit trail, and of secrets owner, description, labels and expiry, as well as
    renames and roll-backs that no new version followed. Interrupted, it goes on where it was when you run it again.
    The exit status is 1 if anything of a secret could not be restored.
    """
    from strongroom.cli.transfer import show_report
    from strongroom.client import administration
    from strongroom.config import read_settings

    if lost_id is None:
        _list_deployments(administration.list_deployments(read_settings()), output)
        return
    left = "nothing was changed" if dry_run else "what was restored stays"
    with _interruptible(left), _bar("Recovering") as progress:
        report = administration.recover(read_settings(), lost_id, progress, dry_run=dry_run)
    show_report(report, "Would recover" if dry_run else "Recovered", output)


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, on a terminal; it is told what is done, of how much."""
    with click.progressbar(length=1, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield progress


@contextmanager
def _interruptible(left: str) -> Iterator[None]:
    """Says on Ctrl-C what is left of the work, which goes on when it is run again."""
    try:
        yield
    except KeyboardInterrupt:
        from strongroom.errors import JobFailed

        raise JobFailed(f"interrupted; {left}", hint="run it again to go on") from None


def _list_deployments(found: dict[str, list[str] | None], output: str | None) -> None:
    if output in ("json", "yaml"):
        show_data([{"store": store, "deployments": ids} for store, ids in found.items()], output)
        return
    for store, ids in found.items():
        for each in ids or ():
            show_line(each)
        if ids is None:
            say(f"{store} cannot list deployments; the id stands in the names and tags of what it holds.")
        elif not ids:
            say(f"There is nothing in {store}.")
    say("Recover one of them with: strongroom server recover --deployment ID")


@server.command("status", cls=Command)
@output_option
def status(output: str | None) -> None:
    """Show the version, the database, and how the secrets stores are: healthy, or by how much behind."""
    from strongroom.cli.client import open_client
    from strongroom.cli.output import plain, show_table

    with open_client() as client:
        found = client.info()
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    show_fields({"version": found.version, "database": found.database, "deployment": found.deployment_id}, None)
    if found.stores:
        show_line("")
        rows = [
            [each.role, each.type, each.location, "yes" if each.healthy else "no", str(each.behind), str(each.to_delete)]
            for each in found.stores
        ]
        show_table(["store", "type", "location", "healthy", "behind", "to delete"], rows)


@server.command("generate-key", cls=Command)
def generate_key() -> None:
    """Print a new encryption key, for STRONGROOM_ENCRYPTION_KEY or a file. Nothing else changes."""
    from strongroom.crypto.aead import new_key
    from strongroom.crypto.keyring import format_keys

    write(format_keys([new_key()]))


@server.command("rotate-key", cls=Command)
@click.option("--to", type=click.Choice(["file", "keyring"]), help="Keep the new key in a 0600 file, or in the system's keyring.")
@output_option
def rotate_key(to: str | None, output: str | None) -> None:
    """Put a new encryption key in charge, while others go on reading and writing.

    A key that strongroom made is replaced by a new one. A key that you give in STRONGROOM_ENCRYPTION_KEY or _FILE is replaced by
    the one that you put before it. Interrupted, it goes on where it was when you run it again.
    """
    from strongroom.client.administration import rotate_key as rotate
    from strongroom.config import read_settings

    with (
        _interruptible("what was wrapped anew so far stays, and everything can be read"),
        _bar("Wrapping data keys anew") as progress,
    ):
        rotation = rotate(read_settings(), to, progress)
    if output:
        show_fields({"key_id": rotation.key_id, "rewrapped": rotation.rewrapped, "retired": rotation.retired}, output)
    say(f"The encryption key {rotation.key_id} is in charge; {rotation.rewrapped} data keys were wrapped anew.")
    if rotation.corrupt:
        say(f"warning: {len(rotation.corrupt)} versions do not decrypt; the former key is kept for them:")
        for secret_id, number in rotation.corrupt:
            say(f"  version {number} of secret {secret_id}")
        raise click.exceptions.Exit(1)
    if rotation.operator_given:
        say("You can now take the former key out of the setting.")


@server.command("start", cls=Command)
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", help="The address to listen at.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", default=8200, help="The port to listen at.  [default: 8200]")
@click.option("--workers", type=click.IntRange(1, 64), metavar="N", default=1, help="How many processes answer.  [default: 1]")
@click.option("--tls-cert", metavar="FILE", help="The certificate (PEM), with those that vouch for it.")
@click.option("--tls-key", metavar="FILE", help="The certificate's key (PEM).")
@click.option("--demo", is_flag=True, help="Serve throw-away data to this machine alone, to look around.")
def start(host: str, port: int, workers: int, tls_cert: str | None, tls_key: str | None, demo: bool) -> None:
    """Serve the HTTP API and the web page until SIGTERM or Ctrl-C.

    The database is made or upgraded first. When nobody can log in yet, the administrator of STRONGROOM_ADMIN_USERNAME and _PASSWORD
    is made, or a one-time token is shown with which you make one. Behind a proxy that speaks TLS, listen at 127.0.0.1; for
    other machines to connect, give a certificate.

    With --demo it serves a few made-up secrets from a temporary folder, which is deleted at the end. Settings do not count then.
    """
    from importlib.util import find_spec
    from pathlib import Path

    from strongroom.cli.demo import USER, demonstration, fill
    from strongroom.config import read_settings
    from strongroom.errors import ConfigurationError, MissingExtra

    if not all(find_spec(library) for library in ("granian", "jinja2", "prometheus_client", "starlette", "structlog")):
        raise MissingExtra("the server's libraries are not installed", hint="pip install 'strongroom[server]'")
    from strongroom.server.run import Address, check_address, prepare, serve

    address = Address(host, port, Path(tls_cert) if tls_cert else None, Path(tls_key) if tls_key else None)

    def warn(text: str) -> None:
        say(f"warning: {text}")

    if demo:
        if not address.is_loopback:
            raise ConfigurationError("--demo serves this machine alone", hint="leave --host out")
        check_address(address)
        with demonstration() as (settings, password):
            prepare(settings, address, lambda _: None)
            fill(settings)
            say("A demonstration with throw-away data, for this machine alone. Ctrl-C ends it and deletes everything.")
            say(f"  user name: {USER}")
            say(f"  password:  {password}")
            serve(settings, address, workers, lambda: say(f"Open {address.url} in a browser."))
        return
    settings = read_settings()
    check_address(address)
    token = prepare(settings, address, warn)
    if token is not None:
        say("Nobody can log in yet. Within 24 hours, make the first administrator with this token, which works once:")
        say(f"  {token.reveal()}")
        say(f"  strongroom login {address.url} --setup-token=- --username NAME")
        say("or in a browser:")
        say(f"  {address.url}/set-up#token={token.reveal()}")
    if tls_cert is None and not address.is_loopback:
        say("warning: this is plain HTTP on an address that other machines can reach; give --tls-cert and --tls-key,")
        say("warning: or see to it that only a proxy that speaks TLS can connect")
    serve(settings, address, workers, lambda: say(f"Serving at {address.url} (API: {address.url}/docs)."))


def _tell(found: Examination) -> None:
    """A store for people: what it is, what works, and what to do about the rest."""
    show_line(f"{found.role}: {found.kind} at {found.location}")
    if found.identity:
        show_line(f"  logged in as: {found.identity}")
    if found.max_versions is not None:
        show_line(f"  keeps at most {found.max_versions} versions of a secret")
    for trial in found.trials:
        error = trial.error
        show_line(f"  {trial.right}: {'ok' if error is None else error.message}")
        if error is not None and error.hint:
            show_line(f"    hint: {error.hint}")
    if not found.is_fine and found.policy:
        show_line("  the least that has to be allowed:\n" + "\n".join(f"    {line}" for line in found.policy.splitlines()))


def _examination(found: Examination) -> dict[str, Any]:
    return {
        "role": found.role,
        "type": found.kind,
        "location": found.location,
        "identity": found.identity,
        "healthy": found.is_fine,
        "rights": {trial.right: trial.error is None for trial in found.trials},
        "errors": [{"code": trial.error.code, "message": trial.error.message} for trial in found.trials if trial.error is not None],
        "policy": found.policy,
    }
