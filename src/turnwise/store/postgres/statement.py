"""A statement: SQL with numbered parameters and columns of known types. Each is sent whole, in one message, and is a transaction of its own.

That is what makes the store work behind a transaction pooler: nothing is prepared by name, nothing is set, and no transaction stays open
between two messages. `{s}` in the SQL stands for the schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .values import KINDS


class Statement:
    """`takes` and `gives` name the types of parameters and columns, as `values.KINDS` has them, with spaces between."""

    __slots__ = ("decoders", "encoders", "oids", "sql")

    def __init__(self, sql: str, *, takes: str = "", gives: str = "") -> None:
        self.sql = sql
        kinds = [KINDS[name] for name in takes.split()]
        self.oids = [kind.oid for kind in kinds]
        self.encoders = [kind.encode for kind in kinds]
        self.decoders = [KINDS[name].decode for name in gives.split()]

    def rendered(self, schema: str) -> bytes:
        """The bytes to be sent. `schema` is a checked name and needs no quoting."""
        return self.sql.replace("{s}", schema).encode()

    def parameters(self, values: Sequence[Any]) -> list[bytes | None]:
        """Raises `ConfigError` (`invalid_text`)."""
        return [None if value is None else encode(value) for encode, value in zip(self.encoders, values, strict=True)]

    def decoded(self, rows: list[list[bytes | None]]) -> list[list[Any]]:
        decoders = self.decoders
        return [
            [None if value is None else decode(value) for decode, value in zip(decoders, row, strict=True)]
            for row in rows
        ]
