"""How scripted responses break and wait: faults at chosen bytes, stalls, back-pressure, leaving."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest

from turnwise.testing import ScriptedProvider, ScriptError, hang, raw, repeat, repeated, reply, text, think

# --- faults on the wire


async def test_a_reset_cuts_the_body_at_the_byte_with_a_tcp_reset(asker):
    async with ScriptedProvider([reply(text("word " * 50), reset_at_byte=100)]) as provider:
        reader, writer = await asker.connect(provider, stream=False)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head
        body = await reader.readexactly(100)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
    assert body.startswith(b"{")


async def test_a_reset_before_the_headers(asker):
    async with ScriptedProvider([reply("Hi.", reset_before_headers=True)]) as provider:
        with pytest.raises(aiohttp.ClientError):
            await asker.ask(provider)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_close_at_a_byte_leaves_the_body_incomplete(asker, stream):
    async with ScriptedProvider([reply(text("word " * 50), close_at_byte=60)]) as provider:
        reader, writer = await asker.connect(provider, stream=stream)
        await reader.readuntil(b"\r\n\r\n")
        got = await reader.read()
        assert not got.endswith(b"0\r\n\r\n")
        assert len(got) == 60 if not stream else len(got) < 60 + 80
        writer.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_early_end_is_complete_for_http_and_cut_for_the_api(asker, stream):  # S3
    async with ScriptedProvider([reply(text("word " * 50)), reply(text("word " * 50), end_at_byte=90)]) as provider:
        _, _, whole = await asker.ask(provider, stream=stream)
        status, _, cut = await asker.ask(provider, stream=stream)
    assert (status, len(cut)) == (200, 90)
    assert len(whole) > 90


@pytest.mark.parametrize("options", [{"chunk_size": 1}, {"chunk_at": [3, 50, 51]}, {"chunk_size": 7, "chunk_at": [4]}])
async def test_chunk_boundaries_are_where_they_were_asked_for(asker, options):  # S1
    async with ScriptedProvider([reply("Hi."), reply("Hi.", **options)]) as provider:
        plain = (await asker.ask(provider, stream=True))[2]
        reader, writer = await asker.connect(provider)
        await reader.readuntil(b"\r\n\r\n")
        chunks = asker.chunks(await reader.readuntil(b"\r\n0\r\n\r\n"))
        writer.close()
    number = (b"000001", b"000002")
    assert len(b"".join(chunks)) == len(plain) and (number[0] in plain) == (number[1] in b"".join(chunks))
    edges = {sum(map(len, chunks[: i + 1])) for i in range(len(chunks))}
    wanted = set(options.get("chunk_at", ()))
    if "chunk_size" in options:
        wanted |= set(range(options["chunk_size"], len(plain), options["chunk_size"]))
    assert wanted <= edges


# --- time and flow


async def test_a_stall_holds_at_the_event_until_released(asker):
    async with ScriptedProvider([reply(text("a", "b", "c"), stall_after_event=2)]) as provider:
        asking = asyncio.ensure_future(asker.ask(provider, stream=True))
        request = await provider.reached("stalled")
        assert request.number == 1 and not asking.done()
        provider.release()
        assert asker.ends((await asking)[2])
        await provider.reached("finished")


async def test_a_stall_at_a_byte_has_sent_exactly_those_bytes(asker):
    async with ScriptedProvider([reply(text("word " * 20), stall_at_byte=77)]) as provider:
        reader, writer = await asker.connect(provider, stream=False)
        await provider.reached("stalled")
        assert provider.bytes_written == 77
        await reader.readuntil(b"\r\n\r\n")
        assert len(await reader.readexactly(77)) == 77
        provider.release(1)
        await provider.reached("finished")
        writer.close()


async def test_a_client_that_leaves_a_stall_is_noticed(asker):
    async with ScriptedProvider([reply(text("a", "b"), stall_after_event=1)]) as provider:
        _, writer = await asker.connect(provider)
        await provider.reached("stalled")
        writer.close()
        await writer.wait_closed()
        await provider.reached("left")


@pytest.mark.parametrize("script", [[hang()], [reply(text("a"), stall_at_byte=0)], [reply(text("a"), pace_s=900)]])
async def test_leaving_closes_at_once_even_if_responses_hang(asker, script):
    async with ScriptedProvider(script) as provider:
        reader, writer = await asker.connect(provider)
        await provider.reached("arrived")
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while more := await reader.read(65536):
            got += more
    assert not got.endswith(b"0\r\n\r\n")
    writer.close()


async def test_a_hanging_request_is_answered_after_release(asker):
    async with ScriptedProvider([hang()]) as provider:
        asking = asyncio.ensure_future(asker.ask(provider))
        await provider.reached("stalled")
        assert not asking.done()
        provider.release()
        assert (await asking)[0] == 200


async def test_delay_and_pace_take_their_time(asker):
    loop = asyncio.get_running_loop()
    async with ScriptedProvider([reply(text("a", "b"), delay_s=0.03, pace_s=0.01)]) as provider:
        start = loop.time()
        _, _, body = await asker.ask(provider, stream=True)
        took = loop.time() - start
    assert took >= 0.03 + 0.01 * (body.count(b"data: ") - 1) - 0.005


async def _bytes_when_still(provider: ScriptedProvider) -> int:
    """Bytes written once a hundred passes of the loop have not changed them."""
    before = -1
    while before != provider.bytes_written:
        before = provider.bytes_written
        for _ in range(100):
            await asyncio.sleep(0)
    return before


async def test_an_endless_stream_waits_for_its_reader(asker):  # C4, C5
    async with ScriptedProvider([reply(repeated("word " * 20))]) as provider:
        reader, writer = await asker.connect(provider)
        await provider.reached("blocked")
        before = await _bytes_when_still(provider)
        assert before < 16_000_000
        wanted = before + 1_000_000
        while provider.bytes_written < wanted:
            assert await reader.read(65536)
        writer.transport.abort()
        await provider.reached("left")


async def test_a_very_long_stream_comes_whole(asker):
    async with ScriptedProvider([reply(repeated("ab ", 5_000))]) as provider:
        _, _, body = await asker.ask(provider, stream=True)
    assert body.count(b"ab ") == 5_000 * asker.form.copies
    assert asker.ends(body)


async def test_many_clients_at_once(asker):
    async with ScriptedProvider([repeat(reply(think("Hm."), "Yes."))]) as provider:
        answers = await asyncio.gather(*[asker.ask(provider, stream=True) for _ in range(50)])
        assert [status for status, _, _ in answers] == [200] * 50
        assert sorted(r.number for r in provider.requests) == list(range(1, 51))


async def test_waiting_for_what_never_happens_says_what_did(asker):
    async with ScriptedProvider([reply("Hi.")]) as provider:
        await asker.ask(provider)
        await provider.reached("finished")
        with pytest.raises(TimeoutError, match=r"Request 2 was not arrived within 0\.01 s; so far: .*finished 1"):
            await provider.reached("arrived", 2, timeout_s=0.01)


@pytest.mark.parametrize("late", [{"reset_at_byte": 90_000}, {"stall_after_event": 500}, {"chunk_at": [5, 90_000]}])
async def test_a_fault_beyond_the_end_of_its_reply_fails_the_test(asker, late):
    with pytest.raises(ScriptError, match=f"too short for {next(iter(late))}"):
        async with ScriptedProvider([reply("Short.", **late)]) as provider:
            await asker.ask(provider, stream=True)


async def test_an_empty_body_stalls_once(asker):
    async with ScriptedProvider([raw(b"", stall_at_byte=0)]) as provider:
        asking = asyncio.ensure_future(asker.ask(provider))
        await provider.reached("stalled")
        provider.release()
        assert (await asking)[2] == b""
