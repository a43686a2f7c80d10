"""Search: the words of messages and tool results, looked up in an index of PostgreSQL, the best first."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.errors import StateError
from ...core.store import Hit
from ..codec import decode_entry
from ..facts import text_of
from .database import Database
from .statement import Statement
from .words import excerpt, terms_of

MOST_PHRASES = 50
"""What a query has in more phrases than these is looked for as single words."""

_FIXED = 6
"""The number of the first parameter that is a phrase."""


async def search(
    database: Database, tenant: str, text: str, user: str | None, session: str | None, limit: int
) -> Sequence[Hit]:
    terms = terms_of(text)
    if not terms:
        return []
    phrases = [term for term in terms if " " in term]
    words = " ".join([term for term in terms if " " not in term] + phrases[MOST_PHRASES:])
    phrases = phrases[:MOST_PHRASES]
    rows = await database.ask(_STATEMENTS[len(phrases)], tenant, user, session, limit, words, *phrases)
    return [
        Hit(found, name, title, number, at, _shown(body, found, number, terms))
        for found, name, title, number, at, body in rows
    ]


def _shown(body: bytes, session: str, number: int, terms: Sequence[str]) -> str:
    """Of an entry that cannot be read nothing is shown; where it is may help all the same."""
    try:
        return excerpt(text_of(decode_entry(body, session, number)), terms)
    except StateError:
        return ""


def _statement(phrases: int) -> Statement:
    """For single words, all of which are asked for, and so many phrases. PostgreSQL makes a query of each text: nothing in them is a syntax."""
    numbers = range(_FIXED, _FIXED + phrases)
    query = "plainto_tsquery('pg_catalog.simple', $5)" + "".join(
        [f" && phraseto_tsquery('pg_catalog.simple', ${number})" for number in numbers]
    )
    return Statement(
        "SELECT f.session, s.name, s.title, f.seq, extract(epoch FROM e.at)::float8, e.body FROM ("
        "SELECT t.session, t.seq, max(ts_rank(t.words, q.query, 1)) AS rank "
        f"FROM (SELECT {query} AS query) q, {{s}}.texts t "
        "WHERE t.words @@ q.query AND t.tenant = $1 AND ($3::text IS NULL OR t.session = $3) AND ($2::text IS NULL OR EXISTS "
        "(SELECT FROM {s}.sessions u WHERE u.id = t.session AND u.username = $2)) "
        "GROUP BY t.session, t.seq ORDER BY rank DESC, t.session DESC, t.seq DESC LIMIT $4) f "
        "JOIN {s}.sessions s ON s.id = f.session JOIN {s}.entries e ON e.session = f.session AND e.seq = f.seq "
        "ORDER BY f.rank DESC, f.session DESC, f.seq DESC",
        takes="text text text int8 text" + " text" * phrases,
        gives="text text text int4 float8 json",
    )


_STATEMENTS = [_statement(phrases) for phrases in range(MOST_PHRASES + 1)]
