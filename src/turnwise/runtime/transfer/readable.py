"""A session for people, as a stream of bytes: reads the journal twice (once for what was taken back), and gives `account` and the form what
they need: the I/O of `forms`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Literal

from ...core.errors import StateError
from ...core.store import SessionInfo, Store
from ..rows import row_of
from . import html, markdown, plain
from .account import Account, Remark, Rewinds, Told
from .export import Journal
from .forms import Embed, Form, pieces_of

_FORMS: dict[str, Form] = {"markdown": markdown, "html": html, "text": plain}

INLINE_BYTES = 8 << 20
"""Attachments up to this size are shown in a page; larger ones are named."""


async def readable(
    store: Store, session: str, format: Literal["markdown", "html", "text"], salvage: bool
) -> AsyncGenerator[bytes, None]:
    """See `export_session`."""
    row = await row_of(store, session)
    form = _FORMS[format]
    yield form.head(row).encode()
    account = Account(await _rewinds(store, row, salvage))
    journal = Journal(store, row, salvage)
    async with aclosing(journal.pages()) as pages:
        async for first, page in pages:
            told = [one for number, entry in enumerate(page, first) for one in account.tell(number, entry)]
            async for piece in _pieces(store, row, form, told):
                yield piece
    rest = account.end()
    if journal.trouble is not None:
        rest.append(Remark(f"What follows could not be read: {journal.trouble.message}", is_error=True))
    async for piece in _pieces(store, row, form, rest):
        yield piece
    yield form.foot(account.model_calls, account.usage).encode()


async def _rewinds(store: Store, row: SessionInfo, salvage: bool) -> Rewinds:
    rewinds = Rewinds()
    async with aclosing(Journal(store, row, salvage).pages()) as pages:
        async for first, page in pages:
            rewinds.look(first, page)
    return rewinds


async def _pieces(store: Store, row: SessionInfo, form: Form, told: Iterable[Told]) -> AsyncGenerator[bytes, None]:
    """The form of what is told, with the bytes of attachments where they belong."""
    for one in told:
        for piece in pieces_of(form, one):
            if isinstance(piece, str):
                yield piece.encode()
            else:
                yield await _embedded(store, row, piece)


async def _embedded(store: Store, row: SessionInfo, place: Embed) -> bytes:
    """One that is too large, missing or damaged is named instead."""
    blobs, ref = store.blobs(row.principal.tenant), place.ref
    try:
        size = await blobs.size(ref.sha256)
        if size is None or size > INLINE_BYTES:
            return place.instead.encode()
        data = await blobs.get(ref.sha256)
    except StateError as error:
        if error.code not in ("missing_blob", "damaged_blob"):
            raise
        return place.instead.encode()
    return place.before.encode() + b64encode(data) + place.after.encode()
