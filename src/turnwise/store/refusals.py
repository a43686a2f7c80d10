"""What stores say when they cannot do what was asked: the errors of this floor, in one place, the same words for every store.

Those of an entry that cannot be read are in `codec`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ..core.errors import ErrorInfo, SessionBusy, SessionError, StateError, state_error
from ..core.store import Owner


def append_conflict(session: str, after: int, last: int) -> StateError:
    """Somebody else has written to the journal."""
    return state_error(
        "append_conflict",
        f"The journal of session {session} ends at entry {last}, not {after}: someone else has written to it.",
        "Open the session again to see what was written.",
        session=session,
    )


def lease_lost(session: str, owner: str) -> StateError:
    """A claim's fence is not the valid one (rule D3)."""
    return state_error(
        "lease_lost",
        f"Session {session} is not claimed by {owner} any more: the lease had run out and another process took it over, "
        "or the claim was given back.",
        "Nothing was written. Open the session again to see how it went on.",
        session=session,
    )


def claimed(session: str, owner: Owner, until: float) -> SessionBusy:
    """A living owner has it; `until` is Unix seconds."""
    where = f" on {owner.host}" if owner.host else ""
    who = f"process {owner.pid}{where}" if owner.pid else f"another process{where}"
    at = datetime.fromtimestamp(until, UTC).isoformat(" ", "seconds")
    return SessionBusy(
        ErrorInfo(
            "session",
            "session_busy",
            f"Session {session} is in use by {who} ({owner.id}), until {at} unless it renews its lease.",
            "Wait for it, send the input to that process, or fork the session.",
            session=session,
        ),
        owner=owner.id,
        until=until,
        host=owner.host,
        pid=owner.pid,
    )


def unknown_session(session: str) -> StateError:
    return state_error(
        "unknown_session",
        f"There is no session {session} in this store.",
        "List the sessions to see what there is; a session that was deleted does not come back.",
        session=session,
    )


def session_deleted(session: str) -> StateError:
    """An append to the middle of a journal that is not there."""
    return state_error(
        "session_deleted",
        f"Session {session} is not in this store any more: it was deleted.",
        "Nothing was written. Begin a new session, or restore this one from an export or backup.",
        session=session,
    )


def session_exists(session: str) -> StateError:
    return state_error(
        "session_exists",
        f"There is a session {session} in this store already.",
        "Open it, or take another id.",
        session=session,
    )


def name_taken(name: str, session: str) -> StateError:
    """`session` is the one that has the name, "" if that is not known."""
    return state_error(
        "name_taken",
        f"There is a session named {name!r} already.",
        "Names are unique within a tenant: take another one, or rename or delete the session that has it.",
        session=session,
    )


def missing_blob(sha256: str) -> StateError:
    return state_error(
        "missing_blob",
        f"No bytes are stored for the attachment {sha256[:12]}….",
        "A history that refers to attachments needs the runtime (or blob store) they were put into.",
    )


def damaged_blob(sha256: str) -> StateError:
    return state_error(
        "damaged_blob",
        f"The bytes stored for the attachment {sha256[:12]}… are not those that were put there.",
        "Put the same bytes again, or take them from a backup. Everything else can be read.",
    )


def blob_too_large(limit_bytes: int) -> StateError:
    return state_error(
        "blob_too_large",
        f"The attachment has more bytes than this store takes ({limit_bytes}).",
        "Nothing was kept of it. Raise the store's limit, or refer to the bytes by a URL.",
    )


def version_conflict(key: str, expect: int, version: int) -> StateError:
    """`version` is what there is, 0 for no record."""
    there = f"has version {version}" if version else "does not exist"
    wanted = f"version {expect} was expected" if expect else "none was expected"
    return state_error(
        "version_conflict",
        f"The record {key!r} {there}; {wanted}.",
        "Somebody else has changed it: read it again and decide anew.",
    )


# --- what more than one store meets; `store` is which, for a person to read -------------------------------------------


def store_closed() -> StateError:
    return state_error("store_closed", "This store is closed.", "Make another one: a closed store stays closed.")


def store_newer(store: str, version: int, known: int) -> StateError:
    return state_error(
        "store_newer",
        f"{store} was written by a newer release of Turnwise: its schema is version {version}, this release knows {known}.",
        "It was left as it is. Use that release, or restore a backup that was made before the schema was changed.",
    )


def store_damaged(store: str, why: str, hint: str) -> StateError:
    return state_error("store_damaged", f"{store} is damaged: {why.removesuffix('.')}.", hint)


def disk_full(store: str, why: str = "") -> StateError:
    said = f": {why.removesuffix('.')}" if why else ""
    return state_error(
        "disk_full",
        f"There is no room left for {store}{said}.",
        "Nothing was written; what there was can be read. Make room and try again.",
        retryable=True,
    )


# --- scoped state -----------------------------------------------------------------------------------------------------


def missing_record(key: str) -> StateError:
    return state_error(
        "missing_record",
        f"There is no record {key!r} to update.",
        "Give update a default=, or set the record first.",
    )


def value_too_large(key: str, size: int, limit_bytes: int) -> StateError:
    return state_error(
        "value_too_large",
        f"The value for {key!r} has {size} bytes as JSON; {limit_bytes} are the most.",
        "Nothing was written. Keep large things as files or artifacts and their names here, or split the value over several keys.",
    )


def contended(key: str, tries: int) -> StateError:
    return state_error(
        "record_contended",
        f"The record {key!r} was changed by others each of the {tries} times that it was to be updated.",
        "Nothing was written. Try again later, or give each writer a key of its own and add them up when reading.",
        retryable=True,
    )


def newer_schema(key: str, schema: int, known: int) -> StateError:
    return state_error(
        "newer_schema",
        f"The record {key!r} has schema {schema}; this program knows it up to {known}.",
        "A newer release of the program wrote it: use that one.",
    )


def no_migration(key: str, schema: int, known: int) -> StateError:
    return state_error(
        "no_migration",
        f"The record {key!r} is of schema {schema}, and nothing says how that becomes schema {schema + 1} on the way to {known}.",
        f"Give its StateKey a migration from {schema}.",
    )


def migration_failed(key: str, schema: int, error: Exception) -> StateError:
    return state_error(
        "migration_failed",
        f"The record {key!r} could not be migrated from schema {schema}: {type(error).__name__}: {error}",
        "The record is as it was. Mend the migration; it gets the plain JSON data of that schema.",
    )


def damaged_record(key: str, kind: str, why: str) -> StateError:
    return state_error(
        "damaged_record",
        f"The record {key!r} cannot be read as {kind}: {why}.",
        "Read it without a type to see what is there. A changed shape needs a new schema number and a migration.",
    )


def two_readers() -> SessionError:
    return SessionError(
        ErrorInfo(
            "session",
            "two_readers",
            "Another task is reading these changes already.",
            "One task at a time may iterate; let it pass them on, or watch twice.",
        )
    )
