"""What goes wrong between the store and its server, sorted: what may be tried again, and what a person must be told.

Two errors are internal to this package: `Lost` (no answer came, or none can come now) and `Refused` (the server said no). The rest turns
them into what callers see. A password is in none of them: the address is told without it, and it is cut out of what libpq says.
"""

from __future__ import annotations

from psycopg.conninfo import conninfo_to_dict

from ...core.errors import ConfigError, StateError, TurnwiseError, config_error, state_error
from ...models.secrets import learn
from ..refusals import disk_full, store_damaged


class Lost(Exception):
    """The connection is gone, or none can be made for now. Whether the statement took effect is not known, if `sent`."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.sent = sent


class Refused(Exception):
    """The server has refused a statement, and nothing of it has taken effect. `object` is what the error names: a constraint or table."""

    def __init__(self, code: str, message: str, object: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.object = object


GONE = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "25006", "53300")
"""SQLSTATEs (or their classes) after which the connection is of no more use: it broke, the server goes down, comes up or was made a
standby, or has no connection left."""
AGAIN = ("40001", "40P01")
"""The transaction was undone for the sake of another one."""


class Address:
    """Where a DSN leads, and how that may be told."""

    __slots__ = ("_password", "conninfo", "given", "shown")

    def __init__(self, dsn: str) -> None:
        try:
            parts = conninfo_to_dict(dsn)
        except Exception:
            # What libpq says of it may quote the password.
            raise config_error(
                "invalid_dsn",
                "The address of the database cannot be read.",
                "Write postgresql://user:password@host:port/database, with % escapes for special characters.",
            ) from None
        password = parts.get("password")
        self._password = str(password) if password else ""
        learn(self._password)
        self.conninfo = dsn
        self.given = frozenset(parts)
        user, host, port = parts.get("user"), parts.get("host"), parts.get("port")
        self.shown = f"{user or ''}@{host or 'localhost'}:{port or 5432}/{parts.get('dbname') or user or ''}"

    def clean(self, message: str) -> str:
        """One line, without the password."""
        line = "; ".join([part.strip() for part in message.splitlines() if part.strip()])
        return line.replace(self._password, "…") if self._password else line


def other_loop() -> StateError:
    return state_error(
        "store_in_use",
        "The PostgreSQL store is in use on another event loop.",
        "Give each event loop a store of its own; they may share the database.",
    )


def unreachable(address: Address, message: str) -> StateError:
    return state_error(
        "store_unavailable",
        f"PostgreSQL at {address.shown} does not answer: {address.clean(message)}",
        "Check that the server runs and can be reached from here. What was not acknowledged may or may not have been written.",
        retryable=True,
    )


def not_connected(address: Address, message: str) -> Lost | TurnwiseError:
    """Why a connection could not be made. libpq tells a refusal by its text only."""
    said = message.lower()
    if "does not exist" in said and "database" in said:
        return state_error(
            "database_missing",
            f"There is no such database: {address.shown}.",
            "Create it (createdb), in UTF-8, or correct the DSN.",
        )
    if "permission denied for database" in said:
        return _permission(address, address.clean(message))
    if any(
        words in said
        for words in (
            "authentication",
            "no password supplied",
            "pg_hba.conf",
            "sasl",
            "does not exist",
            "not permitted to log in",
        )
    ):
        return state_error(
            "store_auth_failed",
            f"PostgreSQL does not let us in as {address.shown}: {address.clean(message)}",
            "Check user, password and pg_hba.conf.",
        )
    return Lost(address.clean(message), sent=False)


def refused(address: Address, error: Refused, schema: str) -> TurnwiseError:
    """What the caller is told of a refusal that nothing else explains."""
    message = address.clean(error.message)
    if error.code == "42501":
        return _permission(address, message)
    if error.code in ("3F000", "42P01", "42883"):
        return schema_missing(address, schema)
    if error.code == "53100":
        return disk_full(f"PostgreSQL at {address.shown}", message)
    if error.code[:2] == "54":
        return too_large(message)
    if error.code in ("XX001", "XX002"):
        return store_damaged(
            f"PostgreSQL at {address.shown}",
            message,
            "Stop writing and see to the server's disk; other sessions may still be read and exported.",
        )
    return state_error(
        "store_failed",
        f"PostgreSQL at {address.shown} refused a statement ({error.code}): {message}",
        "Nothing of it took effect. The server's log says more.",
        detail=error.code,
    )


def too_large(message: str) -> StateError:
    return state_error(
        "append_too_large",
        f"More was to be written at once than PostgreSQL takes: {message}",
        "Nothing was written. Keep large content as attachments: they are stored in pieces.",
    )


def schema_missing(address: Address, schema: str) -> StateError:
    return state_error(
        "schema_missing",
        f"The database {address.shown} has no schema {schema}, or not all of it.",
        "Run PostgresStore(…).migrate() once with a role that may create it, or open the store with migrate=True.",
    )


def schema_old(address: Address, schema: str, found: int, known: int) -> StateError:
    return state_error(
        "schema_old",
        f"Schema {schema} of {address.shown} has version {found}; this release needs {known}.",
        "Run PostgresStore(…).migrate() with a role that may change it, or open the store with migrate=True.",
    )


def wrong_encoding(address: Address, encoding: str) -> ConfigError:
    return config_error(
        "wrong_encoding",
        f"The database {address.shown} is encoded as {encoding}.",
        "Create one in UTF-8: createdb --encoding=UTF8 --template=template0.",
    )


def _permission(address: Address, message: str) -> StateError:
    return state_error(
        "permission_denied",
        f"The role of {address.shown} may not do what the store needs: {message}",
        "docs/postgres.md lists what has to be granted to the role that runs, and to the one that migrates.",
    )
