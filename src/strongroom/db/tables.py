"""The tables, in the one shape that SQLite, PostgreSQL and MySQL/MariaDB share.

Ids are UUIDs as text in lower case (UUIDv7 where order matters: they sort by creation). Times are microseconds since 1970 in UTC.
Text that is compared is ASCII and collated by code point, so that names are exact on every database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def exact(length: int) -> TypeEngine[str]:
    """ASCII text that compares and sorts by code point."""
    return (
        String(length)
        .with_variant(String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
    )


def prose() -> TypeEngine[str]:
    """Any Unicode text."""
    return Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def blob(length: int | None = None) -> TypeEngine[bytes]:
    """Bytes, up to the length or up to 16 MiB."""
    native = mysql.MEDIUMBLOB() if length is None else mysql.VARBINARY(length)
    return LargeBinary(length).with_variant(native, "mysql", "mariadb")


def revision_columns() -> tuple[Column[int], Column[str | None]]:
    """The number of a revision and the id of the user who wrote it; NULL where that is not known. No foreign key: users stay."""
    return (
        Column("revision", Integer, nullable=False, server_default=text("1")),
        Column("author_id", exact(36)),
    )


ID = 36
# On SQLite, tables with short rows are stored in the order of their primary keys (`sqlite_with_rowid=False`): a look-up is one
# search instead of two, and every index holds the primary key.

encryption_keys = Table(
    "encryption_keys",
    metadata,
    # Rows of other tables refer to the key that wraps them, so the database itself refuses to retire a key that is in use.
    Column("id", exact(16), primary_key=True),
    Column("active", Boolean(name="active"), nullable=False),
    Column("created", BigInteger, nullable=False),
)

deployment = Table(
    "deployment",
    metadata,
    # One row. `digest_key` makes digests of values that compare without disclosing, and marks; it is wrapped like a data key.
    Column("id", exact(ID), primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("key_id", exact(16), ForeignKey("encryption_keys.id"), nullable=False),
    Column("wrapped_key", blob(), nullable=False),
    Column("digest_key", blob(), nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", exact(ID), primary_key=True),
    Column("name", exact(255), nullable=False, unique=True),
    Column("admin", Boolean(name="admin"), nullable=False),
    Column("created", BigInteger, nullable=False),
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", exact(ID), primary_key=True),
    Column("name", exact(255), nullable=False, unique=True),
    Column("created", BigInteger, nullable=False),
)

shared_caches = Table(
    "shared_caches",
    metadata,
    # The workspaces whose members take over results from the cache of each other's runs.
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), primary_key=True),
    sqlite_with_rowid=False,
)

trusted_administrators = Table(
    "trusted_administrators",
    metadata,
    # The workspaces whose members use what administrators of the workspace wrote without approving it.
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), primary_key=True),
    sqlite_with_rowid=False,
)

secrets = Table(
    "secrets",
    metadata,
    Column("id", exact(ID), primary_key=True),
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), nullable=False),
    # The namespace within the workspace: '' for workspace scope, the owner's id for user scope.
    Column("private_to", exact(ID), nullable=False),
    Column("name", exact(255), nullable=False),
    Column("owner_id", exact(ID), ForeignKey("users.id"), nullable=False),
    Column("created_by_id", exact(ID), ForeignKey("users.id"), nullable=False),
    Column("description", prose(), nullable=False),
    Column("labels", prose(), nullable=False),
    # `current_version` moves by compare-and-set; `last_version` only grows.
    Column("current_version", Integer, nullable=False),
    Column("last_version", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    # See `crypto/binding.py`. What has none was not written by strongroom.
    Column("pointer_mark", blob(32)),
    Index("uq_secrets_namespace_name", "workspace_id", "private_to", "name", unique=True),
    Index("ix_secrets_namespace_id", "workspace_id", "private_to", "id"),
    Index("ix_secrets_namespace_updated", "workspace_id", "private_to", "updated", "id"),
    Index("ix_secrets_owner_id", "owner_id"),
    Index("ix_secrets_created_by_id", "created_by_id"),
    sqlite_with_rowid=False,
)

secret_labels = Table(
    "secret_labels",
    metadata,
    # `secrets.labels` once more, for filters.
    Column("secret_id", exact(ID), ForeignKey("secrets.id"), primary_key=True),
    Column("key", exact(63), primary_key=True),
    Column("value", prose(), nullable=False),
    Index("ix_secret_labels_value", "key", "value", "secret_id", mysql_length={"value": 64}, mariadb_length={"value": 64}),
    sqlite_with_rowid=False,
)

secret_counts = Table(
    "secret_counts",
    metadata,
    # How many secrets a namespace holds from `first_id` up to the next row's, so that neither totals nor far pages cost a scan.
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), primary_key=True),
    Column("private_to", exact(ID), primary_key=True),
    Column("first_id", exact(ID), primary_key=True),
    Column("size", Integer, nullable=False),
    sqlite_with_rowid=False,
)

versions = Table(
    "versions",
    metadata,
    Column("secret_id", exact(ID), ForeignKey("secrets.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key_names", prose(), nullable=False),
    # Of the values and of the version's place, under a key: equal values elsewhere have another one.
    Column("digest", blob(32), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("created_by_id", exact(ID), ForeignKey("users.id"), nullable=False),
    Index("ix_versions_created_by_id", "created_by_id"),
    sqlite_with_rowid=False,
)

stores = Table(
    "stores",
    metadata,
    # Locations of values, never credentials.
    Column("id", exact(255), primary_key=True),
    Column("type", exact(32), nullable=False),
    Column("created", BigInteger, nullable=False),
)

placements = Table(
    "placements",
    metadata,
    Column("secret_id", exact(ID), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("store_id", exact(255), ForeignKey("stores.id"), primary_key=True),
    # Chosen before the put, unique to the attempt, never used twice.
    Column("locator", exact(255), nullable=False),
    # 'present', or 'emptied' where the version was moved away on purpose and must not come back.
    Column("state", exact(16), nullable=False),
    ForeignKeyConstraint(["secret_id", "number"], ["versions.secret_id", "versions.number"]),
    Index("uq_placements_locator", "store_id", "locator", unique=True),
    sqlite_with_rowid=False,
)

intents = Table(
    "intents",
    metadata,
    # Puts that were announced and may be under way: claimed by a commit, or collected after the deadline.
    Column("store_id", exact(255), ForeignKey("stores.id"), primary_key=True),
    Column("locator", exact(255), primary_key=True),
    Column("deadline", BigInteger, nullable=False),
    Index("ix_intents_deadline", "deadline"),
    sqlite_with_rowid=False,
)

deletions = Table(
    "deletions",
    metadata,
    # No longer placed, still to be deleted from the store.
    Column("store_id", exact(255), ForeignKey("stores.id"), primary_key=True),
    Column("locator", exact(255), primary_key=True),
    Column("created", BigInteger, nullable=False),
    Index("ix_deletions_created", "created"),
    sqlite_with_rowid=False,
)

copies = Table(
    "copies",
    metadata,
    # Versions that a store is behind by: to be copied there from another one.
    Column("store_id", exact(255), ForeignKey("stores.id"), primary_key=True),
    Column("secret_id", exact(ID), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("created", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

store_markers = Table(
    "store_markers",
    metadata,
    # Objects in stores by which places are told apart, and databases: `database` says which one put it there.
    Column("store_id", exact(255), ForeignKey("stores.id"), primary_key=True),
    Column("locator", exact(255), primary_key=True),
    Column("database", exact(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

leases = Table(
    "leases",
    metadata,
    # Work that only one process does at a time, and until when it has it.
    Column("name", exact(64), primary_key=True),
    Column("holder", exact(ID), nullable=False),
    Column("until", BigInteger, nullable=False),
    # Which process that is, for others of its machine, where that is known.
    Column("process", exact(255)),
    sqlite_with_rowid=False,
)

jobs = Table(
    "jobs",
    metadata,
    # Backups, restores and verifications: what they are to do, how far they are, and what they found. `state` is JSON.
    Column("id", exact(ID), primary_key=True),
    Column("kind", exact(32), nullable=False),
    Column("status", exact(16), nullable=False),
    Column("owner_id", exact(ID), ForeignKey("users.id"), nullable=False),
    Column("state", prose(), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Index("ix_jobs_owner_id", "owner_id"),
    sqlite_with_rowid=False,
)

sql_values = Table(
    "sql_values",
    metadata,
    # What the `sql` secrets store holds: sealed values, bound to their secret and version.
    Column("locator", exact(ID), primary_key=True),
    Column("secret_id", exact(ID), nullable=False),
    Column("number", Integer, nullable=False),
    Column("key_id", exact(16), ForeignKey("encryption_keys.id"), nullable=False),
    Column("wrapped_key", blob(64), nullable=False),
    Column("sealed", blob(), nullable=False),
    Index("ix_sql_values_secret_id", "secret_id", "number"),
    Index("ix_sql_values_key_id", "key_id"),
)

flavors = Table(
    "flavors",
    metadata,
    # Custom flavors; the built-in ones belong to the program.
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), primary_key=True),
    Column("type", exact(32), primary_key=True),
    Column("name", exact(255), primary_key=True),
    Column("description", prose(), nullable=False),
    Column("created", BigInteger, nullable=False),
    *revision_columns(),
)

components = Table(
    "components",
    metadata,
    Column("id", exact(ID), primary_key=True),
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), nullable=False),
    Column("type", exact(32), nullable=False),
    Column("name", exact(255), nullable=False),
    Column("flavor", exact(255), nullable=False),
    # Attributes as JSON, references as they are written.
    Column("configuration", prose(), nullable=False),
    Column("owner_id", exact(ID), ForeignKey("users.id"), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    *revision_columns(),
    # 1 where attributes are kept of a revision of another user that its author had not approved.
    Column("mixed", Integer, nullable=False, server_default=text("0")),
    Index("uq_components_name", "workspace_id", "type", "name", unique=True),
    Index("ix_components_owner_id", "owner_id"),
)

stacks = Table(
    "stacks",
    metadata,
    Column("id", exact(ID), primary_key=True),
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), nullable=False),
    Column("name", exact(255), nullable=False),
    Column("owner_id", exact(ID), ForeignKey("users.id"), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    *revision_columns(),
    Index("uq_stacks_name", "workspace_id", "name", unique=True),
    Index("ix_stacks_owner_id", "owner_id"),
)

stack_components = Table(
    "stack_components",
    metadata,
    Column("stack_id", exact(ID), ForeignKey("stacks.id"), primary_key=True),
    Column("type", exact(32), primary_key=True),
    Column("component_id", exact(ID), ForeignKey("components.id"), nullable=False),
    Index("ix_stack_components_component_id", "component_id"),
    sqlite_with_rowid=False,
)

approvals = Table(
    "approvals",
    metadata,
    # What a user or service account may use although another user wrote it: a component, or the composition of a stack. `state` is
    # the digest of the revision that was approved; `document` is JSON: what it took, and how it was shown.
    Column("user_id", exact(ID), ForeignKey("users.id"), primary_key=True),
    Column("subject_id", exact(ID), primary_key=True),
    Column("state", exact(64), nullable=False),
    Column("document", prose(), nullable=False),
    Column("approved_by_id", exact(ID), ForeignKey("users.id"), nullable=False),
    Column("created", BigInteger, nullable=False),
    Index("ix_approvals_subject_id", "subject_id"),
    sqlite_with_rowid=False,
)

active_stacks = Table(
    "active_stacks",
    metadata,
    # Whoever has no row here uses the stack called 'default'.
    Column("user_id", exact(ID), ForeignKey("users.id"), primary_key=True),
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), primary_key=True),
    Column("stack_id", exact(ID), ForeignKey("stacks.id"), nullable=False),
    Index("ix_active_stacks_stack_id", "stack_id"),
    Index("ix_active_stacks_workspace_id", "workspace_id"),
    sqlite_with_rowid=False,
)

runs = Table(
    "runs",
    metadata,
    Column("id", exact(ID), primary_key=True),
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), nullable=False),
    Column("name", exact(255), nullable=False),
    Column("pipeline", exact(255), nullable=False),
    Column("stack", exact(255), nullable=False),
    Column("status", exact(16), nullable=False),
    Column("owner_id", exact(ID), ForeignKey("users.id"), nullable=False),
    Column("parameters", prose(), nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("finished", BigInteger),
    Column("error", prose()),
    Index("uq_runs_name", "workspace_id", "name", unique=True),
    Index("ix_runs_workspace_id", "workspace_id", "id"),
    Index("ix_runs_owner_id", "owner_id"),
)

run_steps = Table(
    "run_steps",
    metadata,
    Column("run_id", exact(ID), ForeignKey("runs.id"), primary_key=True),
    Column("name", exact(255), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("status", exact(16), nullable=False),
    # Parameters, inputs and settings as JSON; then outputs, and what the step said about itself.
    Column("plan", prose(), nullable=False),
    Column("outputs", prose(), nullable=False),
    Column("facts", prose(), nullable=False),
    Column("cache_key", exact(64)),
    Column("cached_from", exact(ID)),
    Column("started", BigInteger),
    Column("finished", BigInteger),
    Column("error", prose()),
    Index("ix_run_steps_cache_key", "cache_key", "finished"),
)

secret_reads = Table(
    "secret_reads",
    metadata,
    # Which run and step read which key of which version; '' for the run as a whole. Stays when the secret is deleted.
    Column("run_id", exact(ID), ForeignKey("runs.id"), primary_key=True),
    Column("step", exact(255), primary_key=True),
    Column("secret_id", exact(ID), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key_name", exact(255), primary_key=True),
    Column("secret_name", exact(255), nullable=False),
    Column("moment", BigInteger, nullable=False),
    Index("ix_secret_reads_secret_id", "secret_id", "moment"),
    sqlite_with_rowid=False,
)

passwords = Table(
    "passwords",
    metadata,
    # Of the users who can log in; argon2id, with its parameters.
    Column("user_id", exact(ID), ForeignKey("users.id"), primary_key=True),
    Column("hashed", exact(255), nullable=False),
    Column("changed", BigInteger, nullable=False),
)

service_accounts = Table(
    "service_accounts",
    metadata,
    # Users that are machines; each belongs to one workspace.
    Column("user_id", exact(ID), ForeignKey("users.id"), primary_key=True),
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), nullable=False),
    Column("deleted", Boolean(name="deleted"), nullable=False),
    Index("ix_service_accounts_workspace_id", "workspace_id"),
)

members = Table(
    "members",
    metadata,
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), primary_key=True),
    Column("user_id", exact(ID), ForeignKey("users.id"), primary_key=True),
    Column("role", exact(16), nullable=False),
    Index("ix_members_user_id", "user_id"),
    sqlite_with_rowid=False,
)

active_workspaces = Table(
    "active_workspaces",
    metadata,
    # Whoever has no row here uses the workspace called 'default'.
    Column("user_id", exact(ID), ForeignKey("users.id"), primary_key=True),
    Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), nullable=False),
    Index("ix_active_workspaces_workspace_id", "workspace_id"),
    sqlite_with_rowid=False,
)

tokens = Table(
    "tokens",
    metadata,
    # What bears one: a session of a user, an API key, a run, or the one-time token of a new server (without a user). A token is 256
    # random bits, so a plain SHA-256 is enough to keep it from whoever reads this table. A row that is gone is a token that is dead.
    # The id of a run's token is that of the run, so that whatever names the token names the run. `issuer_id` is the API key that a
    # run was begun with: without the key, its runs have no tokens.
    Column("id", exact(ID), primary_key=True),
    Column("digest", blob(32), nullable=False),
    Column("kind", exact(16), nullable=False),
    Column("user_id", exact(ID), ForeignKey("users.id")),
    Column("name", exact(255)),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("issuer_id", exact(ID), ForeignKey("tokens.id", ondelete="CASCADE")),
    Index("ix_tokens_issuer_id", "issuer_id"),
    Index("uq_tokens_digest", "digest", unique=True),
    Index("uq_tokens_user_id_kind_name", "user_id", "kind", "name", unique=True),
)

run_grants = Table(
    "run_grants",
    metadata,
    # What a run token reads: secrets by id, each with a key, or '' for all its keys. They end with the token.
    Column("run_id", exact(ID), ForeignKey("tokens.id", ondelete="CASCADE"), primary_key=True),
    Column("secret_id", exact(ID), primary_key=True),
    Column("key_name", exact(255), primary_key=True),
    sqlite_with_rowid=False,
)

login_failures = Table(
    "login_failures",
    metadata,
    # Failed logins per user name and per address, since the window began. `subject` is a digest: nothing here repeats what was typed.
    Column("subject", exact(64), primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Index("ix_login_failures_since", "since"),
    sqlite_with_rowid=False,
)

replies = Table(
    "replies",
    metadata,
    # What was replied to requests with an idempotency key, for a day. Both digests are keyed: a request may hold values. A reply
    # never does. Without a status the request is being worked on.
    Column("id", exact(64), primary_key=True),
    Column("request", exact(64), nullable=False),
    Column("status", Integer),
    Column("body", prose(), nullable=False),
    Column("created", BigInteger, nullable=False),
    Index("ix_replies_created", "created"),
)

audit_events = Table(
    "audit_events",
    metadata,
    # Only added to. `facts` is what the mark is over; the columns before it are the same once more, for filters.
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("actor", exact(255), nullable=False),
    Column("operation", exact(64), nullable=False),
    Column("target", exact(255), nullable=False),
    Column("target_id", exact(255), nullable=False),
    Column("outcome", exact(32), nullable=False),
    Column("facts", blob(), nullable=False),
    Column("mark", blob(32), nullable=False),
    # The id that the event had in the outbox; NULL for others.
    Column("entry", exact(ID)),
    Index("ix_audit_events_target_id", "target_id", "number"),
    Index("ix_audit_events_actor", "actor", "number"),
    Index(
        "ix_audit_events_entry",
        "entry",
        sqlite_where=text("entry IS NOT NULL"),
        postgresql_where=text("entry IS NOT NULL"),
    ),
)

audit_head = Table(
    "audit_head",
    metadata,
    # Row 1: the last event's number and mark, and the mark of both. Row 2, if events were archived: those of the last archived one.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("mark", blob(32), nullable=False),
    Column("head", blob(32), nullable=False),
)

audit_journals = Table(
    "audit_journals",
    metadata,
    # How much of a file beside the database is in the chain: so many bytes, up to the entry with this mark. The seal is over all of
    # the row. Rows stay when the file is gone.
    Column("name", exact(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("mark", blob(32), nullable=False),
    Column("state", Integer),
    Column("seal", blob(32)),
    sqlite_with_rowid=False,
)

audit_outbox = Table(
    "audit_outbox",
    metadata,
    # Events that are on record and not yet in the chain, on database servers. The mark is over id and facts.
    Column("id", exact(ID), primary_key=True),
    Column("facts", blob(), nullable=False),
    Column("mark", blob(32), nullable=False),
)
