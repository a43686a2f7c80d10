"""Record and replay: what was recorded over real HTTP plays again without a network, and no secret is in the file."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise import Agent, Retry, Runtime, tool
from turnwise.core.protocols import Transport
from turnwise.errors import ConfigError, ProviderError
from turnwise.events import Event, TextDelta
from turnwise.models.transport import HttpTransport
from turnwise.testing import (
    Recorder,
    Replay,
    ReplayError,
    ScriptedProvider,
    call,
    cassette,
    fail,
    no_network,
    raw,
    reply,
    run_in_virtual_time,
    text,
    think,
)
from turnwise.testing.recording import read
from turnwise.testing.scrub import Scrubber

KEY = "sk-test-0123456789abcdef"
HOSTS = ["anthropic", "openai"]


class Still:
    """A clock that stands, so that two runs can be compared."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 1_750_000_000.0


class Always:
    def session_id(self) -> str:
        return "01977420-dc00-7000-8000-000000000000"


@tool
async def weather(city: str) -> str:
    return f"{city}: rain"


def url_of(host: str, provider: ScriptedProvider) -> str:
    return provider.anthropic_url if host == "anthropic" else provider.openai_url


async def talk(host: str, url: str, transport: Transport, *prompts: str, **options: Any) -> list[Event]:
    """All events of a session over this transport."""
    events: list[Event] = []
    async with Runtime(transport=transport, clock=Still(), ids=Always()) as runtime:
        agent = Agent(
            f"{host}:a-model", base_url=url, api_key=KEY, tools=[weather], runtime=runtime, retry=SOON, **options
        )
        async with agent.session() as session:
            for prompt in prompts:
                async with session.stream(prompt) as turn:
                    events += [event async for event in turn]
    return events


SOON = Retry(base_delay_s=0)
SCRIPT = [
    reply(think("Hm."), text("Let me look. Äöü — 🌧"), call("weather", city="Oslo"), chunk_size=7),
    reply("Rain."),
    fail(529, headers={"retry-after": "0"}),
    reply("Still rain."),
]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("host", HOSTS)
async def test_a_recording_plays_without_a_network(host: str, stream: bool, tmp_path: Path) -> None:
    """Tools, retries and two turns: the same events, from a provider that is gone."""
    path = tmp_path / "weather.jsonl"
    async with ScriptedProvider(SCRIPT) as provider:
        url = url_of(host, provider)
        recorded = await talk(host, url, Recorder(path), "Oslo?", "And now?", stream=stream)
    assert KEY not in path.read_text()
    with no_network() as guard:
        replay = Replay(path)
        replayed = await talk(
            host,
            "https://192.0.2.1/v1" if host == "openai" else "https://192.0.2.1",
            replay,
            "Oslo?",
            "And now?",
            stream=stream,
        )
        replay.assert_played()
        assert guard.refused == []
    assert replayed == recorded and [e.status for e in answers(path)] == [200, 200, 529, 200]


def answers(path: Path) -> list[Any]:
    return [e.answer for e in read(path)]


@pytest.mark.parametrize("host", HOSTS)
async def test_a_broken_stream_breaks_again(host: str, tmp_path: Path) -> None:
    """In mid-stream, where the recorded bytes end."""
    path = tmp_path / "broken.jsonl"
    async with ScriptedProvider([reply(text("One two three four"), reset_at_byte=700)]) as provider:
        recorded = await talk(host, url_of(host, provider), Recorder(path), "Count")
    (exchange,) = read(path)
    assert exchange.end == "broke" and exchange.error is not None and exchange.error.code == "connection_lost"
    assert any(isinstance(e, TextDelta) for e in recorded)
    replayed = await talk(
        host, "http://192.0.2.1/v1" if host == "openai" else "http://192.0.2.1", Replay(path), "Count"
    )
    assert without_addresses(replayed) == without_addresses(recorded)


def without_addresses(events: list[Event]) -> str:
    return "\n".join(map(repr, events))


async def test_a_refused_connection_is_refused_again(tmp_path: Path) -> None:
    path = tmp_path / "refused.jsonl"
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    codes: list[str] = []
    for make in (Recorder, Replay):
        async with Runtime(transport=make(path)) as runtime:
            agent = Agent(
                "openai:m", base_url=f"http://127.0.0.1:{port}", api_key=KEY, runtime=runtime, retry=Retry(attempts=1)
            )
            with pytest.raises(ProviderError) as raised:
                await agent.run("Hi")
            codes.append(raised.value.code)
    assert codes == ["connection_refused"] * 2


async def test_what_was_left_is_left_again(tmp_path: Path) -> None:
    """Leaving early is recorded as such, and the replay waits to be left where the recording was."""
    path = tmp_path / "left.jsonl"

    async def leave(transport: Transport, url: str) -> str:
        async with Runtime(transport=transport) as runtime:
            agent = Agent("openai:m", base_url=url, api_key=KEY, runtime=runtime)
            async with agent.session() as session:
                async with session.stream("Count") as turn:
                    async for event in turn:
                        if isinstance(event, TextDelta):
                            break
                return turn.result.reason

    async with ScriptedProvider([reply(text("One ", "two"), stall_after_event=2)]) as provider:
        reason = await leave(Recorder(path), provider.openai_url)
    (exchange,) = read(path)
    assert exchange.end == "left" and exchange.answer is not None
    replay = Replay(path)
    assert await leave(replay, "http://192.0.2.1/v1") == reason
    replay.assert_played()


async def test_an_interrupt_is_recorded_as_leaving(tmp_path: Path) -> None:
    """Also while the provider is waited for: the read that fails then failed because of us."""
    path = tmp_path / "interrupted.jsonl"

    async def interrupted(transport: Transport, url: str) -> tuple[str, str]:
        async with Runtime(transport=transport) as runtime:
            agent = Agent("openai:m", base_url=url, api_key=KEY, runtime=runtime)
            async with agent.session() as session, session.stream("Count") as turn:
                async for event in turn:
                    if isinstance(event, TextDelta):
                        runtime.loop.call_soon(session.interrupt)  # when the next read is pending
                return turn.result.reason, turn.result.text

    async with ScriptedProvider([reply(text("One ", "two"), stall_after_event=2)]) as provider:
        recorded = await interrupted(Recorder(path), provider.openai_url)
    (exchange,) = read(path)
    assert exchange.end == "left" and exchange.error is None
    replay = Replay(path)
    assert await interrupted(replay, "http://192.0.2.1/v1") == recorded == ("interrupted", "One ")
    replay.assert_played()


async def test_exchanges_play_in_the_order_they_began(tmp_path: Path) -> None:
    """Whichever ended first."""
    path = tmp_path / "together.jsonl"
    async with (
        ScriptedProvider([reply("First.", stall_before_headers=True), reply("Second.")]) as provider,
        Runtime(transport=Recorder(path)) as runtime,
    ):
        agent = Agent("openai:m", base_url=provider.openai_url, api_key=KEY, runtime=runtime)
        first = asyncio.ensure_future(agent.run("Hi"))
        await provider.reached("stalled")
        assert (await agent.run("Hi")).text == "Second."
        provider.release()
        assert (await first).text == "First."
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()[1:]] == [2, 1]
    assert await ask(Replay(path), "Hi", "Hi") == ["First.", "Second."]


async def test_chunks_and_bytes_are_those_that_were_read(tmp_path: Path) -> None:
    """S1: also bytes that are no text, and characters cut in two."""
    path = tmp_path / "bytes.jsonl"
    body = bytes(range(256)) * 3 + "äöü🌧".encode()
    seen: list[bytes] = []
    async with ScriptedProvider(
        [raw(body, content_type="application/octet-stream", chunk_size=5)], validate=False
    ) as provider:
        recorder = Recorder(path)
        response = await recorder.open(
            "POST",
            f"{provider.openai_url}/chat/completions",
            {"authorization": f"Bearer {KEY}"},
            [b'{"model"', bytearray(b':"m"}')],
        )
        await response.head()
        while data := await response.read():
            seen.append(data)
        response.close()
        await recorder.close()
    replayed = await Replay(path).open("POST", "http://192.0.2.1/v1/chat/completions", {}, [b'{"model":"m"}'])
    await replayed.head()
    again: list[bytes] = []
    while data := await replayed.read():
        again.append(data)
    assert again == seen and b"".join(seen) == body and replayed.status == 200
    assert replayed.headers["content-type"] == "application/octet-stream"


# --- secrets ----------------------------------------------------------------------------------------------------------

AWS = (
    "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE0000001/20250101/us-east-1/bedrock/aws4_request, "
    "SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6"
)
SECRET_HEADERS: dict[str, str] = {
    "authorization": AWS,
    "x-api-key": "key-in-x-api-key",
    "api-key": "key-in-api-key",
    "x-goog-api-key": "key-in-goog-key",
    "x-amz-security-token": "token-of-the-session==",
    "cookie": "sid=the-session-cookie; theme=dark",
    "x-some-new-credential": "nobody-has-heard-of-this",
}
SECRETS = [
    *[value for name, value in SECRET_HEADERS.items() if name not in ("authorization", "cookie")],
    "AKIAEXAMPLE0000001",
    "5d672d79c15b13162d9279b0855cfba6",
    "the-session-cookie",
    "key in the query",
]


async def test_no_secret_is_written(tmp_path: Path) -> None:
    """P6: from headers, URL and cookies, and wherever they occur again, also over chunk boundaries, in errors and in redirects."""
    path = tmp_path / "secrets.jsonl"
    echo = json.dumps({"error": {"message": " ".join(SECRETS), "type": "auth"}}).encode()
    script = [
        raw(echo, status=401, chunk_size=3, headers={"set-cookie": "sid=the-set-cookie", "x-request-id": SECRETS[0]})
    ]
    async with ScriptedProvider(script, validate=False) as provider:
        recorder = Recorder(path, secrets=["hush"])
        url = f"{provider.openai_url}/chat/completions?key=key%20in%20the%20query&api-version=2024-10-21"
        body = json.dumps({"model": "m", "user": SECRETS, "say": "hush", "type": "content-type"}).encode()
        headers = {**SECRET_HEADERS, "content-type": "application/json"}
        response = await recorder.open("POST", url, headers, [body[:30], body[30:]])
        await response.head()
        while await response.read():
            pass
        response.close()
        await recorder.close()
    written = path.read_text()
    for secret in [*SECRETS, "hush", "key%20in%20the%20query", "the-set-cookie"]:
        assert secret not in written
        assert secret not in "".join([c.text or "" for c in read(path)[0].answer.chunks])  # over boundaries
    assert "api-version=2024-10-21" in written and "content-type" in read(path)[0].request.body.data.decode()
    replay = Replay(path)
    elsewhere = url.replace(provider_host(url), "192.0.2.1")
    again = await replay.open("POST", elsewhere, headers, [body.replace(b"hush", b"****")])
    await again.head()
    assert again.status == 401
    replay.assert_played()


def provider_host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40),
    st.lists(st.binary(max_size=20), min_size=1, max_size=5),
    st.lists(st.integers(0, 300), max_size=12),
)
def test_a_secret_is_covered_however_the_body_is_cut(secret: str, around: list[bytes], cuts: list[int]) -> None:
    """P6: and nothing but the secret changes, nor any length."""
    scrubber = Scrubber()
    scrubber.learn("https://host/path", {"authorization": f"Bearer {secret}"})
    whole = secret.encode().join(around)
    marks = [0, *sorted(c for c in cuts if c < len(whole)), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(marks)]
    covered = scrubber.chunks(pieces)
    assert list(map(len, covered)) == list(map(len, pieces))
    joined = b"".join(covered)
    assert secret.encode() not in joined or set(secret) == {"*"}
    if not any(secret.encode()[:4] in a for a in around):
        assert joined.count(b"*") >= (len(around) - 1) * len(secret)


def test_user_and_password_are_credentials() -> None:
    """P6: in a URL or as basic authorization."""
    scrubber = Scrubber()
    url = "https://user-name:pass-word-1@host/path"
    scrubber.learn(url, {"authorization": "Basic " + b64encode(b"someone-else:anything-goes").decode()})
    assert scrubber.url(url) == "https://host/path"
    covered = scrubber.text("user-name pass-word-1 someone-else anything-goes")
    assert set(covered) == {"*", " "} and len(covered.split()) == 4


def test_a_secret_within_a_secret_leaves_nothing_of_the_longer() -> None:
    """P6."""
    assert Scrubber(["abcdefgh", "abcdefghijkl"]).text("(abcdefghijkl)") == "(************)"


def test_short_values_and_words_are_left_alone() -> None:
    scrubber = Scrubber()
    scrubber.learn(
        "https://host/v1?alt=sse", {"authorization": "Bearer test", "host": "api.example.com", "x-flag": "true"}
    )
    said = b'{"latest": true, "host": "api.example.com", "alt": "sse"}'
    assert scrubber.bytes(said) == said


# --- matching ---------------------------------------------------------------------------------------------------------


async def recorded(path: Path, *prompts: str) -> None:
    script = [reply(f"Answer {n}") for n, _ in enumerate(prompts, 1)]
    async with ScriptedProvider(script) as provider, Runtime(transport=Recorder(path)) as runtime:
        agent = Agent("openai:m", base_url=provider.openai_url, api_key=KEY, runtime=runtime)
        for prompt in prompts:
            await agent.run(prompt)


async def ask(transport: Transport, *prompts: str) -> list[str]:
    async with Runtime(transport=transport) as runtime:
        agent = Agent("openai:m", base_url="http://192.0.2.1/v1", api_key="another-key", runtime=runtime)
        return [(await agent.run(prompt)).text for prompt in prompts]


async def test_an_unmatched_request_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    await recorded(path, "Oslo?", "Bergen, of all places?")
    replay = Replay(path)
    with pytest.raises(ProviderError) as raised:
        await ask(replay, "Bergen?")
    info = raised.value.info
    assert info.code == "unmatched_request" and not info.retryable and info.hint
    assert "exchange 1" in info.message and '"Oslo?", now "Bergen?"' in info.message
    assert "body.messages[0].content" in info.message
    with pytest.raises(ReplayError, match="Not asked for: exchange 1"):
        replay.assert_played()


async def test_each_exchange_plays_once_in_order_unless_repeated(tmp_path: Path) -> None:
    path = tmp_path / "same.jsonl"
    await recorded(path, "Hi", "Hi", "Ho")
    replay = Replay(path)
    assert await ask(replay, "Ho", "Hi", "Hi") == ["Answer 3", "Answer 1", "Answer 2"]
    replay.assert_played()
    with pytest.raises(ProviderError, match="was played already"):
        await ask(replay, "Hi")
    again = Replay(path, repeat=True)
    assert await ask(again, "Hi", "Hi", "Hi", "Hi") == ["Answer 1", "Answer 2", "Answer 2", "Answer 2"]


async def test_a_matcher_of_the_callers_own(tmp_path: Path) -> None:
    path = tmp_path / "any.jsonl"
    await recorded(path, "Hi")
    replay = Replay(path, matcher=lambda was, now: [] if was.path == now.path else ["path"])
    assert await ask(replay, "Something else") == ["Answer 1"]


async def test_a_swallowed_mismatch_is_told_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    await recorded(path, "Hi")
    replay = Replay(path)
    assert await ask(replay, "Hi") == ["Answer 1"]
    with pytest.raises(ProviderError):
        await ask(replay, "Ho")
    with pytest.raises(ReplayError, match="Ho"):
        replay.assert_played()


# --- the file ---------------------------------------------------------------------------------------------------------


async def test_finished_exchanges_are_in_the_file_at_once(tmp_path: Path) -> None:
    """D1: a crash leaves whole lines. What is under way when the recorder closes is written as left."""
    path = tmp_path / "crash.jsonl"
    async with ScriptedProvider([reply("One."), reply(text("Two"), stall_after_event=2)]) as provider:
        recorder = Recorder(path)
        runtime = Runtime(transport=recorder)
        agent = Agent("openai:m", base_url=provider.openai_url, api_key=KEY, runtime=runtime)
        await agent.run("Hi")
        running = asyncio.ensure_future(agent.run("Ho"))
        await provider.reached("stalled", 2)
        assert [e.end for e in read(path)] == ["whole"]
        recorder.finish()
        assert [e.end for e in read(path)] == ["whole", "left"]
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await runtime.close()


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda data: data[:-20], "ends in the middle of line 2"),
        (lambda data: data.replace(b"cassette", b"something"), "no recording of this version"),
        (lambda data: data.replace(b'"request"', b'"inquiry"'), "unreadable line 2"),
        (lambda data: b"", "no recording"),
    ],
)
async def test_a_spoilt_file_is_refused(spoil: Any, problem: str, tmp_path: Path) -> None:
    """D5."""
    path = tmp_path / "spoilt.jsonl"
    await recorded(path, "Hi")
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ConfigError, match=problem) as raised:
        Replay(path)
    assert raised.value.code == "bad_cassette"


async def test_cassette(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records when asked to, else plays; all of it must be played."""
    path = tmp_path / "cassettes" / "hello.jsonl"
    monkeypatch.delenv("TURNWISE_RECORD", raising=False)
    with pytest.raises(ConfigError, match="TURNWISE_RECORD=1"), cassette(path):
        pass
    monkeypatch.setenv("TURNWISE_RECORD", "1")
    async with ScriptedProvider([reply("Hello."), reply("Again.")]) as provider:
        with cassette(path) as transport:
            async with Runtime(transport=transport) as runtime:
                agent = Agent("openai:m", base_url=provider.openai_url, api_key=KEY, runtime=runtime)
                assert [(await agent.run(p)).text for p in ("Hi", "Ho")] == ["Hello.", "Again."]
    monkeypatch.delenv("TURNWISE_RECORD")
    with cassette(path) as transport:
        assert await ask(transport, "Hi", "Ho") == ["Hello.", "Again."]
    with pytest.raises(ReplayError, match="exchange 2"), cassette(path) as transport:
        await ask(transport, "Hi")
    with pytest.raises(KeyError), cassette(path):
        raise KeyError("the test's own failure comes first")


# --- time -------------------------------------------------------------------------------------------------------------


class LoopClock:
    """The virtual loop's time."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return 0.0


@pytest.mark.parametrize(("timing", "expected_s"), [(True, 60), (2, 120), (0.5, 30), (False, 0)])
def test_recorded_times_are_kept_if_asked(timing: bool | float, expected_s: float, tmp_path: Path) -> None:
    path = tmp_path / "slow.jsonl"

    async def timed(transport: Transport, url: str) -> float:
        began = asyncio.get_running_loop().time()
        async with Runtime(transport=transport) as runtime:
            await Agent("openai:m", base_url=url, api_key=KEY, runtime=runtime).run("Hi")
        return asyncio.get_running_loop().time() - began

    async def main() -> None:
        async with ScriptedProvider([reply("Slowly.", delay_s=60)]) as provider:
            assert 60 <= await timed(Recorder(path, clock=LoopClock()), provider.openai_url) < 61
        took = await timed(Replay(path, timing=timing), "http://192.0.2.1/v1")
        assert expected_s - 0.1 <= took < expected_s + 1

    run_in_virtual_time(main())


def test_an_interrupt_wakes_a_replay_that_waits(tmp_path: Path) -> None:
    """C1."""
    path = tmp_path / "slow.jsonl"

    async def main() -> None:
        recorder = Recorder(path, clock=LoopClock())
        async with ScriptedProvider([reply("Slowly.", delay_s=60)]) as provider, Runtime(transport=recorder) as runtime:
            await Agent("openai:m", base_url=provider.openai_url, api_key=KEY, runtime=runtime).run("Hi")
        async with Runtime(transport=Replay(path, timing=True)) as runtime:
            agent = Agent("openai:m", base_url="http://192.0.2.1/v1", api_key=KEY, runtime=runtime)
            async with agent.session() as session:
                turn = asyncio.ensure_future(session.run("Hi"))
                await asyncio.sleep(1)
                session.interrupt()
                assert (await turn).reason == "interrupted"

    run_in_virtual_time(main())


async def test_an_existing_transport_can_be_recorded(tmp_path: Path) -> None:
    """Closing the recorder closes it."""

    class Watched(HttpTransport):
        closed = False

        async def close(self) -> None:
            self.closed = True
            await super().close()

    inner = Watched()
    recorder = Recorder(tmp_path / "x.jsonl", inner)
    async with ScriptedProvider([reply("Hi")]) as provider, Runtime(transport=recorder) as runtime:
        await Agent("openai:m", base_url=provider.openai_url, api_key=KEY, runtime=runtime).run("Hi")
    assert inner.closed


def test_names_and_headers_are_compared_in_lower_case() -> None:
    scrubber = Scrubber()
    headers: Mapping[str, str] = {"Content-Type": "application/json", "X-RateLimit-Remaining": "1", "Set-Cookie": "a=b"}
    assert scrubber.received(headers) == {"content-type": "application/json", "x-ratelimit-remaining": "1"}
    assert scrubber.sent({"Content-Type": "application/json", "X-Api-Key": KEY}) == {"content-type": "application/json"}
