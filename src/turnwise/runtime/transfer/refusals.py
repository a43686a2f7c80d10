"""What exports, imports and upkeep say when they cannot do what was asked: the errors of this room."""

from __future__ import annotations

from ...core.errors import ErrorInfo, StateError


def invalid_export(line: int, what: str) -> StateError:
    """An import that is not what was exported (rule D5)."""
    return StateError(
        ErrorInfo(
            "state",
            "invalid_export",
            f"Line {line} of the export is not as it must be: {what}.",
            "Nothing was imported. The file was cut off or changed on its way: copy it again, or export the session once more.",
        )
    )


def newer_export(line: int, what: str) -> StateError:
    """An import that a newer release wrote (rule D7)."""
    return StateError(
        ErrorInfo(
            "state",
            "newer_export",
            f"Line {line} of the export was written by a newer release: {what}.",
            "Nothing was imported. Use that release, or a newer one.",
        )
    )


def cannot(store: object, what: str) -> StateError:
    """The store has no such surface."""
    return StateError(
        ErrorInfo(
            "state",
            "not_supported",
            f"{type(store).__name__} cannot {what}.",
            "Stores of a database server have the server's own tools for that; a store in memory has nothing on disk.",
        )
    )
