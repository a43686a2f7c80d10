"""What stores say when they cannot do what was asked: the errors of this floor, in one place, the same words for every store.

Those of an entry that cannot be read are in `codec`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ..core.errors import ErrorInfo, SessionBusy, StateError
from ..core.store import Owner


def append_conflict(session: str, after: int, last: int) -> StateError:
    """Somebody else has written to the journal."""
    return StateError(
        ErrorInfo(
            "state",
            "append_conflict",
            f"The journal of session {session} ends at entry {last}, not {after}: someone else has written to it.",
            "Open the session again to see what was written.",
            session=session,
        )
    )


def lease_lost(session: str, owner: str) -> StateError:
    """A claim's fence is not the valid one (rule D3)."""
    return StateError(
        ErrorInfo(
            "state",
            "lease_lost",
            f"Session {session} is not claimed by {owner} any more: the lease had run out and another process took it over, "
            "or the claim was given back.",
            "Nothing was written. Open the session again to see how it went on.",
            session=session,
        )
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
    return StateError(
        ErrorInfo(
            "state",
            "unknown_session",
            f"There is no session {session} in this store.",
            "List the sessions to see what there is; a session that was deleted does not come back.",
            session=session,
        )
    )


def session_deleted(session: str) -> StateError:
    """An append to the middle of a journal that is not there."""
    return StateError(
        ErrorInfo(
            "state",
            "session_deleted",
            f"Session {session} is not in this store any more: it was deleted.",
            "Nothing was written. Begin a new session, or restore this one from an export or backup.",
            session=session,
        )
    )


def session_exists(session: str) -> StateError:
    return StateError(
        ErrorInfo(
            "state",
            "session_exists",
            f"There is a session {session} in this store already.",
            "Open it, or take another id.",
            session=session,
        )
    )


def name_taken(name: str, session: str) -> StateError:
    """`session` is the one that has the name, "" if that is not known."""
    return StateError(
        ErrorInfo(
            "state",
            "name_taken",
            f"There is a session named {name!r} already.",
            "Names are unique within a tenant: take another one, or rename or delete the session that has it.",
            session=session,
        )
    )


def missing_blob(sha256: str) -> StateError:
    return StateError(
        ErrorInfo(
            "state",
            "missing_blob",
            f"No bytes are stored for the attachment {sha256[:12]}….",
            "A history that refers to attachments needs the runtime (or blob store) they were put into.",
        )
    )


def damaged_blob(sha256: str) -> StateError:
    return StateError(
        ErrorInfo(
            "state",
            "damaged_blob",
            f"The bytes stored for the attachment {sha256[:12]}… are not those that were put there.",
            "Put the same bytes again, or take them from a backup. Everything else can be read.",
        )
    )


def blob_too_large(limit_bytes: int) -> StateError:
    return StateError(
        ErrorInfo(
            "state",
            "blob_too_large",
            f"The attachment has more bytes than this store takes ({limit_bytes}).",
            "Nothing was kept of it. Raise the store's limit, or refer to the bytes by a URL.",
        )
    )


def version_conflict(key: str, expect: int, version: int) -> StateError:
    """`version` is what there is, 0 for no record."""
    there = f"has version {version}" if version else "does not exist"
    wanted = f"version {expect} was expected" if expect else "none was expected"
    return StateError(
        ErrorInfo(
            "state",
            "version_conflict",
            f"The record {key!r} {there}; {wanted}.",
            "Somebody else has changed it: read it again and decide anew.",
        )
    )
