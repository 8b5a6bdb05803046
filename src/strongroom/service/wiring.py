"""Puts the pieces together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.audit.archive import Summary
from strongroom.auth.actor import Actor
from strongroom.config import Settings
from strongroom.errors import StrongroomError, Unavailable
from strongroom.metadata.version import VersionIndex
from strongroom.models.job import JobReport
from strongroom.models.workspace import ActivateWorkspace, Workspace
from strongroom.operations import approval as of_approval
from strongroom.operations import audit as of_audit
from strongroom.operations import component as of_component
from strongroom.operations import info as of_info
from strongroom.operations import job as of_job
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations import service_account as of_service_account
from strongroom.operations import stack as of_stack
from strongroom.operations import user as of_user
from strongroom.operations import workspace as of_workspace
from strongroom.secrets_stores.sql import SqlSecretsStore
from strongroom.service.approval import ApprovalService
from strongroom.service.audit import AuditService
from strongroom.service.audit_archive import archive
from strongroom.service.audit_log import AuditLog
from strongroom.service.component import ComponentService
from strongroom.service.copies import Copies
from strongroom.service.deployment import Deployment, local_actor, open_deployment
from strongroom.service.dispatcher import Dispatcher, Handler
from strongroom.service.encryption_keys import OPERATION as ROTATION
from strongroom.service.encryption_keys import Rotation, key_target, rotate
from strongroom.service.facts import OK, Facts, facts_of_administration
from strongroom.service.identity import IdentityService
from strongroom.service.info import InfoService
from strongroom.service.job import JobService
from strongroom.service.placements import ConfiguredStore, Placements
from strongroom.service.reconciler import Reconciler
from strongroom.service.recovery import OPERATION as RECOVERY
from strongroom.service.recovery import Recovery, check_id, list_deployments
from strongroom.service.reference import ReferenceService
from strongroom.service.reply import ReplyService
from strongroom.service.revision import Revisions
from strongroom.service.run import RunService
from strongroom.service.run_gate import RunGate
from strongroom.service.secret import SecretService
from strongroom.service.stack import StackService
from strongroom.service.store_connectors import with_connectors
from strongroom.service.stores import Examination, check_at_start, examine, open_stores
from strongroom.service.transfers import Transfers
from strongroom.service.workspace import WorkspaceService

if TYPE_CHECKING:
    from sqlalchemy import Connection

FOLLOW_UP_SECONDS = 5.0


class Service:
    """An open deployment behind its dispatcher. Thread-safe; close it when done."""

    def __init__(self, settings: Settings, open_stores: Callable[[Settings, str], Sequence[ConfiguredStore]] = open_stores) -> None:
        """`open_stores` gives the secrets stores for the settings and the deployment's id."""
        self.deployment: Deployment = open_deployment(settings)
        self.local_actor = self.deployment.local_actor
        self.store = SqlSecretsStore(self.deployment.keys)
        database, deployment_id = self.deployment.database, self.deployment.id
        self._open_stores = open_stores
        try:
            self._opened_with = with_connectors(self.deployment, self.store, settings, open_stores)
            stores = open_stores(self._opened_with, deployment_id)
        except BaseException:
            self.deployment.close()
            raise
        self.placements = Placements(database, self.store, self.deployment.digest_key, deployment_id, stores)
        versions = VersionIndex(self.store)
        copies = Copies(database, self.placements, self.store, deployment_id)
        self.reconciler = Reconciler(database, self.placements, copies, versions)
        self.jobs = jobs = JobService(database, Transfers(database, self.placements, copies, versions, self.store))
        secrets = SecretService(self.deployment, self.store, self.placements)
        revisions = Revisions(self.deployment, self.store)
        approvals = ApprovalService(self.deployment, revisions)
        components, stacks = ComponentService(self.deployment, revisions.waits), StackService(self.deployment, revisions)
        self.identities = users = IdentityService(self.deployment.database)
        self._workspaces = workspaces = WorkspaceService(self.deployment.database)
        self.trail = AuditLog(self.deployment)
        self.audit = audit = AuditService(self.deployment, self.trail)
        self.replies = ReplyService(self.deployment)
        runs = RunService(self.deployment, self.store, revisions)
        references = ReferenceService(self.deployment, self.store, self.placements, runs.record, revisions)
        handlers: dict[str, Handler] = {
            of_approval.APPROVE.name: approvals.approve,
            of_approval.REVIEW.name: approvals.review,
            of_audit.ACKNOWLEDGE.name: audit.acknowledge,
            of_audit.LIST.name: audit.list,
            of_audit.VERIFY.name: audit.verify,
            of_component.CREATE.name: components.create,
            of_component.DELETE.name: components.delete,
            of_component.DELETE_FLAVOR.name: components.delete_flavor,
            of_component.GET.name: components.get,
            of_component.GET_FLAVOR.name: components.get_flavor,
            of_component.LIST.name: components.list,
            of_component.LIST_FLAVORS.name: components.list_flavors,
            of_component.REGISTER_FLAVOR.name: components.register_flavor,
            of_component.UPDATE.name: components.update,
            of_component.USE.name: approvals.use_component,
            of_info.INFO.name: InfoService(self.deployment, self.placements).get,
            of_job.BACK_UP.name: jobs.begin,
            of_job.CANCEL.name: jobs.cancel,
            of_job.GET.name: jobs.get,
            of_job.LIST.name: jobs.list,
            of_job.RESTORE.name: jobs.begin,
            of_job.VERIFY.name: jobs.begin,
            of_run.CREATE.name: runs.create,
            of_run.FIND_CACHED_STEP.name: runs.find_cached_step,
            of_run.FINISH.name: runs.finish,
            of_run.GET.name: runs.get,
            of_run.LIST.name: runs.list,
            of_run.RECORD_READS.name: runs.record_reads,
            of_run.UPDATE_STEP.name: runs.update_step,
            of_secret.CHECK.name: references.check,
            of_secret.CREATE.name: secrets.create,
            of_secret.DELETE.name: secrets.delete,
            of_secret.GET.name: secrets.get,
            of_secret.GET_BY_NAME.name: secrets.get_by_name,
            of_secret.GET_METADATA.name: secrets.get_metadata,
            of_secret.GET_METADATA_BY_NAME.name: secrets.get_metadata_by_name,
            of_secret.LIST.name: secrets.list,
            of_secret.LIST_USAGE.name: runs.list_usage,
            of_secret.LIST_VERSIONS.name: secrets.list_versions,
            of_secret.REPLACE.name: secrets.replace,
            of_secret.RESOLVE.name: references.resolve,
            of_secret.ROLLBACK.name: secrets.rollback,
            of_secret.UPDATE.name: secrets.update,
            of_service_account.CREATE.name: workspaces.create_service_account,
            of_service_account.CREATE_KEY.name: workspaces.create_api_key,
            of_service_account.DELETE.name: workspaces.delete_service_account,
            of_service_account.DELETE_KEY.name: workspaces.delete_api_key,
            of_service_account.LIST.name: workspaces.list_service_accounts,
            of_service_account.LIST_KEYS.name: workspaces.list_api_keys,
            of_stack.ACTIVATE.name: stacks.activate,
            of_stack.CREATE.name: stacks.create,
            of_stack.DELETE.name: stacks.delete,
            of_stack.GET.name: stacks.get,
            of_stack.LIST.name: stacks.list,
            of_stack.UPDATE.name: stacks.update,
            of_stack.USE.name: stacks.use,
            of_user.CHANGE_PASSWORD.name: users.change_password,
            of_user.CREATE.name: users.create_user,
            of_user.DEACTIVATE.name: users.deactivate_user,
            of_user.GET.name: users.get_user,
            of_user.LIST.name: users.list_users,
            of_user.LOGIN.name: users.log_in,
            of_user.LOGOUT.name: users.log_out,
            of_user.SET_UP.name: users.set_up,
            of_user.UPDATE.name: users.update_user,
            of_user.WHO_AM_I.name: users.who_am_i,
            of_workspace.ACTIVATE.name: self._activate_workspace,
            of_workspace.CREATE.name: workspaces.create,
            of_workspace.LIST.name: workspaces.list,
            of_workspace.LIST_MEMBERS.name: workspaces.list_members,
            of_workspace.PUT_MEMBER.name: workspaces.put_member,
            of_workspace.REMOVE_MEMBER.name: workspaces.remove_member,
            of_workspace.UPDATE.name: workspaces.update,
        }
        self.gate = RunGate(self.deployment, self.store, handlers)
        self.dispatcher = Dispatcher(handlers, self.gate, self.trail, database, reads_too=settings.audit == "all")

    def _activate_workspace(self, actor: Actor, request: ActivateWorkspace) -> Workspace:
        chosen = self._workspaces.activate(actor, request)
        if actor.token_id is None:  # whoever uses the database itself works there from now on
            self.local_actor = local_actor(self.deployment.database, None)
        return chosen

    def rotate_key(self, to: str | None, progress: Callable[[int, int], None]) -> Rotation:
        """Puts a new encryption key in charge; `to` moves it into the managed source `file` or `keyring`.

        That it is in charge is on record from that moment on, whatever comes of the rest; so is a refusal.
        """
        keys = self.deployment.keys

        def facts(new_id: str, outcome: str) -> list[Facts]:
            return [facts_of_administration(ROTATION, self.local_actor, "", new_id, outcome)]

        def activated(connection: Connection, new_id: str) -> None:
            self.trail.add(connection, facts(new_id, OK))

        try:
            target = keys.source if to is None else key_target(self.deployment.settings, to)
            return rotate(self.deployment.database, keys, self.store, target, progress, activated)
        except StrongroomError as error:
            with suppress(StrongroomError):  # whoever asked is told the first of the two reasons
                self.trail.record(facts("", error.code))
            raise

    def archive_audit(self, before: datetime, path: Path) -> Summary:
        """Seals the events before this time into a new file, and removes them; see `audit_archive.archive`."""
        return archive(self.deployment, self.trail, self.audit, self.local_actor, before, path)

    def check_stores(self) -> list[str]:
        """Tries the secrets stores out, for a server that is about to start; see `check_at_start`. Gives what is to be told."""
        if self.placements.are_local:
            return []
        self.placements.prepare()
        told = check_at_start(self.deployment.database, self.placements.stores, self.deployment.id)
        warnings = [f"{silent.message}; serving without it" for silent in told]
        if not told:
            with suppress(Unavailable):  # it answered a moment ago: the reconciler looks again
                self.placements.markers.prove()
        warnings += self._warn_of_other_databases()
        wanted = self.deployment.settings.keep_versions
        if (kept := self.placements.keep(wanted)) < wanted:
            warnings.append(f"only {kept} versions of a secret are kept, not {wanted}: the secrets store has no room for more")
        return warnings

    def _warn_of_other_databases(self) -> list[str]:
        """Says of which stores another database of this deployment has a marker."""
        warnings = []
        for store in self.placements.stores:
            if store.external is not None:
                with suppress(Unavailable):
                    for locator in self.placements.markers.others(store)[:1]:
                        error = self.placements.markers.other_database(store, locator)
                        warnings.append(f"{error.message}. {error.hint}")
        return warnings

    def examine_stores(self, *, take_over: bool = False) -> list[Examination]:
        """How each configured secrets store shows itself. `ConfigurationError` if two of them are one place.

        With `take_over` the markers of other databases are removed, which says that none of them is used any more.
        """
        self.placements.prepare()
        found = [examine(self.deployment.database, each, self.deployment.id) for each in self.placements.stores]
        if all(each.is_fine for each in found):
            self.placements.markers.try_out()
            if take_over:
                self.placements.markers.take_over()
                self.placements.work_left.set()
        return found

    def list_deployments(self) -> dict[str, list[str] | None]:
        """Which deployments have values in the configured stores; see `recovery.list_deployments`."""
        return list_deployments(self.placements.stores)

    def recover(self, lost_id: str, progress: Callable[[int, int], object], *, dry_run: bool = False) -> JobReport:
        """Makes the secrets of a lost database anew in this one; see `Recovery.run`. The deployment is to be opened anew then.

        However it ends, one event tells how many were restored, unless nothing was to change.
        """
        deployment = self.deployment
        stores = self._open_stores(self._opened_with, check_id(lost_id))
        placements = Placements(deployment.database, self.store, deployment.digest_key, lost_id, stores)
        outcome = "internal"
        try:
            recovery = Recovery(deployment, lost_id, placements, self.store)
            try:
                report = recovery.run(progress, dry_run=dry_run)
                outcome = OK
            except StrongroomError as error:
                outcome = error.code
                raise
            except KeyboardInterrupt:
                outcome = "interrupted"
                raise
            finally:
                if recovery.has_begun:
                    did = recovery.report
                    counts = f"{did.done} restored, {did.failed} failed, {did.skipped} skipped"
                    self.trail.record([facts_of_administration(RECOVERY, self.local_actor, counts, lost_id, outcome)])
                    self.trail.adopt(lost_id)
        finally:
            placements.close()
        return report

    def close(self) -> None:
        """Does for the secrets stores what is left to do, for some seconds, and closes all. Nobody may be at work."""
        self.jobs.close()
        self.reconciler.close()
        self.placements.close()
        self.trail.close()
        self.deployment.close()

    def follow_up(self) -> None:
        """Makes the secrets stores follow what was just changed, for some seconds; what is left is done the next time."""
        if self.placements.work_left.is_set():
            self.reconciler.run(FOLLOW_UP_SECONDS)
            self.reconciler.give_lease_back()
