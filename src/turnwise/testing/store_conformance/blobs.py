"""Promises about blobs: bytes under their sha256, of one tenant each, kept as long as a journal refers to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from hashlib import sha256

from ...core.content import BlobRef, Image, Text
from ...core.messages import UserMessage
from ...core.principal import LOCAL, Principal
from ...core.store import Collected, StoredBlobs
from .kit import BrokenPromise, Trial, expect, promises, refused, same
from .samples import AT, SessionCreated, created, with_artifact, with_image

TENANT = LOCAL.tenant
ABSENT = sha256(b"never put").hexdigest()
GRACE_S = 60.0


@promises(
    "Bytes that were put are got again, by the sha256 that put() gives; what was never put is refused with missing_blob."
)
async def bytes_come_back(t: Trial) -> None:
    blobs = t.store.blobs(TENANT)
    for data in (b"", b"\x00", b"some text", bytes(range(256)) * 1000, b"x" * 3_000_000):
        name = await blobs.put(data)
        same(name, sha256(data).hexdigest(), f"what put() of {len(data)} bytes gave")
        same(await blobs.get(name), data, f"get() of {len(data)} bytes")
        same(await blobs.size(name), len(data), f"size() of {len(data)} bytes")
        same(b"".join([bytes(piece) async for piece in blobs.stream(name)]), data, f"stream() of {len(data)} bytes")
    await refused(blobs.get(ABSENT), "missing_blob", "get() of what was never put")
    await refused(_all(blobs, ABSENT), "missing_blob", "stream() of what was never put")
    same(await blobs.size(ABSENT), None, "size() of what was never put")
    await refused(blobs.get("../../etc/passwd"), "missing_blob", "get() of what is no sha256")
    same(await blobs.size("%"), None, "size() of what is no sha256")


@promises("Bytes may be put piece by piece, and are the same blob as if put whole.")
async def bytes_may_be_put_by_pieces(t: Trial) -> None:
    blobs = t.store.blobs(TENANT)
    pieces = [b"one ", b"", b"two ", bytes(100_000), b"x", b"" * 2, b"y" * 1_500_000]
    whole = b"".join(pieces)
    name = await blobs.put(_pieces(pieces))
    same(name, sha256(whole).hexdigest(), "what put() of pieces gave")
    same(await blobs.get(name), whole, "get() of what was put by pieces")
    same(await blobs.put(whole), name, "put() of the same bytes, whole")
    same(await blobs.put(_pieces([])), sha256(b"").hexdigest(), "put() of no piece at all")
    same(await blobs.get(sha256(b"").hexdigest()), b"", "get() of no bytes at all")


@promises("A large blob is streamed in pieces, not all at once.")
async def large_blobs_are_streamed(t: Trial) -> None:
    blobs = t.store.blobs(TENANT)
    piece = bytes(range(256)) * 1024
    count = 24
    name = await blobs.put(_pieces([piece] * count))
    seen, largest, digest = 0, 0, sha256()
    async for got in blobs.stream(name):
        seen, largest = seen + len(got), max(largest, len(got))
        digest.update(got)
    same((seen, digest.hexdigest()), (len(piece) * count, name), "bytes and sha256 of what was streamed")
    expect(largest <= seen // 2, f"a stream of {seen} bytes came in a piece of {largest}")


@promises("If the pieces break off with an error, it is raised and nothing is kept.")
async def broken_puts_keep_nothing(t: Trial) -> None:
    blobs = t.store.blobs(TENANT)
    before = await t.store.stats()

    async def breaking() -> AsyncIterator[bytes]:
        yield b"a beginning"
        raise ValueError("the source broke")

    try:
        await blobs.put(breaking())
    except ValueError:
        pass
    else:
        raise BrokenPromise("put() of pieces that broke off raised nothing")
    same(await blobs.size(sha256(b"a beginning").hexdigest()), None, "size() of the part that came")
    same((await t.store.stats())["blobs"], before["blobs"], "blobs in stats()")
    same(await blobs.get(await blobs.put(b"and on")), b"and on", "a blob that is put afterwards")


@promises("The same bytes are kept once for each tenant, and no tenant sees another's.")
async def tenants_have_their_own_blobs(t: Trial) -> None:
    mine, others = t.store.blobs(TENANT), t.store.blobs("elsewhere")
    name = await mine.put(b"shared bytes")
    await mine.put(b"shared bytes")
    same((await t.store.stats())["blobs"], 1, "blobs in stats() after the same bytes were put twice")
    await refused(others.get(name), "missing_blob", "get() of another tenant's blob")
    same(await others.size(name), None, "size() of another tenant's blob")
    await refused(_all(others, name), "missing_blob", "stream() of another tenant's blob")
    await others.put(b"shared bytes")
    await t.advance(1.0)
    await t.store.collect_blobs("elsewhere", unused_for_s=0.5)
    same(await mine.get(name), b"shared bytes", "get() after another tenant's blobs were collected")
    await refused(others.get(name), "missing_blob", "get() of a blob that was collected")
    same(await t.store.blobs(TENANT).get(name), b"shared bytes", "get() by another handle on the tenant's blobs")


@promises("Blobs are there for every handle, and when the data is opened again.", "reopen", "second")
async def blobs_outlive_a_restart(t: Trial) -> None:
    name = await t.store.blobs(TENANT).put(b"kept" * 100_000)
    other = await t.second()
    same(await other.blobs(TENANT).get(name), b"kept" * 100_000, "get() by a second handle")
    await t.reopen()
    same(await t.store.blobs(TENANT).get(name), b"kept" * 100_000, "get() after reopening")


@promises(
    "collect_blobs() removes what no journal of the tenant refers to and was put longer ago than asked, and says how much."
)
async def unused_blobs_are_collected(t: Trial) -> None:
    if t.given.advance is None:
        return await _collected_in_real_time(t)
    blobs = t.store.blobs(TENANT)
    image, artifact, handed, loose = [
        await blobs.put(data) for data in (b"image", b"artifact", b"handed in", b"loose!")
    ]
    history = (UserMessage((Text("x"), Image(BlobRef(handed, 9, "image/png"))), turn=1),)
    await t.store.append("s1", 0, [SessionCreated("s1", LOCAL, AT, history=history)])
    await t.store.append("s1", 1, [with_image(image, 5), with_artifact(artifact, 8)])
    same(await t.store.collect_blobs(TENANT), Collected(0, 0), "collected of blobs that were just put")
    await t.advance(GRACE_S)
    fresh = await blobs.put(b"fresh")
    same(await t.store.collect_blobs(TENANT, unused_for_s=GRACE_S / 2), Collected(1, 6), "collected after a while")
    await refused(blobs.get(loose), "missing_blob", "get() of a blob that nothing refers to, after collecting")
    await _all_there(blobs, {image: "message", artifact: "result", handed: "history", fresh: "(put a moment ago)"})
    await t.store.delete("s1")
    await t.advance(GRACE_S)
    same(
        await t.store.collect_blobs(TENANT, unused_for_s=GRACE_S / 2), Collected(4, 27), "collected when all is unused"
    )
    same((await t.store.stats())["blobs"], 0, "blobs in stats()")
    return None


async def _collected_in_real_time(t: Trial) -> None:
    """The same in short, where time really passes."""
    blobs = t.store.blobs(TENANT)
    used, loose = await blobs.put(b"used"), await blobs.put(b"loose!")
    await t.store.append("s1", 0, [created("s1"), with_image(used, 4)])
    same(await t.store.collect_blobs(TENANT), Collected(0, 0), "collected of blobs that were just put")
    await t.advance(0.3)
    same(await t.store.collect_blobs(TENANT, unused_for_s=0.1), Collected(1, 6), "collected after a while")
    await refused(blobs.get(loose), "missing_blob", "get() of a blob that nothing refers to, after collecting")
    await _all_there(blobs, {used: "message"})


@promises("Putting bytes again, or referring to them, keeps them from being collected.")
async def putting_again_keeps(t: Trial) -> None:
    blobs = t.store.blobs(TENANT)
    again, used_later = await blobs.put(b"again"), await blobs.put(b"used later")
    await t.advance(2.0)
    await blobs.put(b"again")
    await t.store.append("s1", 0, [created("s1"), with_image(used_later, 10)])
    await t.store.collect_blobs(TENANT, unused_for_s=1.0)
    await _all_there(blobs, {again: "(put again)", used_later: "later message"})


@promises(
    "A blob that several sessions refer to is kept until the last of them is gone; another tenant's journals do not count."
)
async def shared_blobs_are_kept(t: Trial) -> None:
    blobs = t.store.blobs(TENANT)
    name = await blobs.put(b"shared")
    history = (UserMessage((Text("x"), Image(BlobRef(name, 6, "image/png"))), turn=1),)
    await t.store.append("s1", 0, [created("s1"), with_image(name, 6), with_image(name, 6, turn=2)])
    await t.store.append("fork", 0, [SessionCreated("fork", LOCAL, AT, history=history, forked_from="s1")])
    elsewhere = Principal("elsewhere", "x")
    await t.store.append("other", 0, [created("other", elsewhere), with_image(name, 6)])
    for gone in ("s1", "fork"):
        await t.advance(1.0)
        await t.store.collect_blobs(TENANT, unused_for_s=0.5)
        same(await blobs.size(name), 6, f"size() of a shared blob before {gone} is deleted")
        await t.store.delete(gone)
    await t.advance(1.0)
    await t.store.collect_blobs(TENANT, unused_for_s=0.5)
    same(await blobs.size(name), None, "size() when no session of the tenant refers to it")


async def _all_there(blobs: StoredBlobs, wanted: dict[str, str]) -> None:
    for name, of in wanted.items():
        expect(await blobs.size(name) is not None, f"the blob of a {of} is gone")
        await blobs.get(name)


async def _all(blobs: StoredBlobs, name: str) -> bytes:
    return b"".join([bytes(piece) async for piece in blobs.stream(name)])


async def _pieces(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
