"""The scripted provider as its users meet it: what it answers, what it records, what it asserts, and how it breaks."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import urllib.request

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.errors import ConfigError
from turnwise.testing import (
    Reply,
    ScriptedProvider,
    ScriptError,
    call,
    error_event,
    fail,
    raw,
    repeat,
    reply,
    text,
)
from turnwise.wire.serve import TextPart, serve_codec

# --- the script


async def test_replies_come_in_order_and_requests_are_recorded_without_credentials(asker):
    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider:
        first = await asker.ask(provider, asker.body(), key="sk-secret")
        second = await asker.ask(provider)
    assert b"One." in first[2] and b"Two." in second[2]
    assert [r.number for r in provider.requests] == [1, 2]
    recorded = provider.requests[0]
    assert (recorded.api, recorded.method, recorded.path) == (asker.api, "POST", asker.path())
    assert recorded.body == asker.body()
    assert json.loads(recorded.raw) == recorded.body
    assert "sk-secret" not in repr(recorded)


async def test_a_stream_ends_with_the_terminator_and_keeps_the_connection(asker):
    async with ScriptedProvider([reply("Hello there."), reply("Again."), repeat(reply())]) as provider:
        reader, writer = await asker.connect(provider)
        for said in (b"Hello", b"Again."):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"content-type: " + serve_codec(asker.api).stream_type.encode() in head
            body = b"".join(asker.chunks(await reader.readuntil(b"\r\n0\r\n\r\n")))
            assert said in body and asker.ends(body)
            writer.write(asker.raw())
        writer.close()


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_reply_may_be_a_function_of_the_request(asker, asynchronous):
    def echo(request) -> Reply:
        return reply(f"You said {request.body[asker.form.field][-1]}")

    async def later(request) -> Reply:
        await asyncio.sleep(0)
        return echo(request)

    async with ScriptedProvider([later if asynchronous else echo]) as provider:
        assert b"You said " in (body := (await asker.ask(provider))[2]) and b"Hi" in body


async def test_replies_left_over_fail_the_test(asker):
    with pytest.raises(ScriptError, match="1 of 2 replies were not asked for"):
        async with ScriptedProvider([reply("One."), reply("Two.")]) as provider:
            await asker.ask(provider)


async def test_a_request_too_many_is_answered_500_and_fails_the_test(asker):
    with pytest.raises(ScriptError, match="no reply left for request 2"):
        async with ScriptedProvider([reply("One.")]) as provider:
            await asker.ask(provider)
            assert (await asker.ask(provider))[0] == 500


async def test_a_reply_function_that_raises_fails_the_test(asker):
    with pytest.raises(ScriptError, match="raised KeyError"):
        async with ScriptedProvider([lambda request: request.body["nothing"]]) as provider:
            assert (await asker.ask(provider))[0] == 500


async def test_fragments_that_raise_fail_the_test(asker):
    def broken():
        yield "half"
        raise RuntimeError("out of words")

    with pytest.raises(ScriptError, match="out of words"):
        async with ScriptedProvider([reply(TextPart(broken()))]) as provider:
            with pytest.raises(aiohttp.ClientError):
                await asker.ask(provider, stream=True)


async def test_an_exception_on_its_way_is_not_hidden_by_the_script():
    with pytest.raises(ZeroDivisionError):
        async with ScriptedProvider([reply("never asked for")]):
            raise ZeroDivisionError


async def test_a_refused_request_is_named_when_the_script_is_left_over(asker):
    with pytest.raises(ScriptError, match=r"Request 1 was refused: "):
        async with ScriptedProvider([reply("One.")]) as provider:
            await asker.ask(provider, asker.unanswered())


async def test_a_repeated_reply_answers_any_number_of_requests_also_none(asker):
    async with ScriptedProvider([repeat(reply("Never."))]):
        pass
    async with ScriptedProvider([reply("First."), repeat(reply("Then."))]) as provider:
        bodies = [(await asker.ask(provider))[2] for _ in range(3)]
    assert [b"Then." in b for b in bodies] == [False, True, True]


def test_a_repeated_reply_must_be_last():
    with pytest.raises(ConfigError, match="must be the last item"):
        ScriptedProvider([repeat(reply("a")), reply("b")])


def test_urls_exist_only_inside_with():
    with pytest.raises(ConfigError, match="not running"):
        _ = ScriptedProvider([]).url


# --- refusals by the provider itself


async def test_missing_and_wrong_keys_are_refused_in_the_providers_form(asker):
    asks_for_one = 401 in asker.form.words
    async with ScriptedProvider([] if asks_for_one else [reply("Come in."), reply("Come in.")]) as provider:
        missing, wrong = [await asker.ask(provider, key=key) for key in ("", "wrong")]
    if not asks_for_one:
        assert asker.api == "ollama.chat" and missing[0] == wrong[0] == 200, "a server of one's own has no keys"
        return
    assert missing[0] == wrong[0] == 401
    assert "key" in asker.message(missing[2])
    assert asker.form.words[401] in asker.word(*wrong[1:])


async def test_unknown_paths_are_404(asker):
    async with (
        ScriptedProvider([]) as provider,
        aiohttp.ClientSession() as client,
        client.post(provider.url + "/v2/none", json={}, headers=asker.headers()) as response,
    ):
        assert response.status == 404
        assert "error" in await response.json()


async def test_unknown_models_are_404_in_the_providers_form(asker):
    async with ScriptedProvider([]) as provider:
        status, headers, body = await asker.ask(provider, model="missing-model")
    assert status == 404 and b"missing-model" in body
    assert asker.form.words[404] in asker.word(headers, body)


async def test_a_request_that_breaks_the_rules_is_400_and_uses_up_no_reply(asker):  # T1
    async with ScriptedProvider([reply("Fine.")]) as provider:
        status, headers, body = await asker.ask(provider, asker.unanswered())
        assert status == 400
        assert asker.form.words[400] in asker.word(headers, body)
        assert str(provider.requests[0].problems[0]) in asker.message(body)
        assert (await asker.ask(provider))[0] == 200


async def test_validation_can_be_turned_off(asker):
    async with ScriptedProvider([reply("Fine.")], validate=False) as provider:
        assert (await asker.ask(provider, asker.unanswered()))[0] == 200


async def test_bodies_that_are_no_json_object_are_400(asker):
    async with ScriptedProvider([]) as provider, aiohttp.ClientSession() as client:
        for data in (b"", b"{", b"[1]"):
            async with client.post(provider.url + asker.path(), data=data, headers=asker.headers()) as response:
                assert response.status == 400


async def test_anthropic_wants_its_version_header():
    async with ScriptedProvider([]) as provider, aiohttp.ClientSession() as client:
        body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
        async with client.post(provider.url + "/v1/messages", json=body, headers={"x-api-key": "k"}) as response:
            assert response.status == 400
            assert "anthropic-version" in await response.text()


async def test_a_chunked_request_body_is_understood(asker):
    async def upload():
        body = json.dumps(asker.body()).encode()
        yield body[:7]
        yield body[7:]

    async with ScriptedProvider([reply("Fine.")]) as provider, aiohttp.ClientSession() as client:
        async with client.post(provider.url + asker.path(), data=upload(), headers=asker.headers()) as response:
            assert response.status == 200
        assert provider.requests[0].body == asker.body()


# --- scripted errors


async def test_http_errors_have_status_headers_and_the_providers_form(asker):
    async with ScriptedProvider([fail(429, headers={"retry-after": "7"})]) as provider:
        status, headers, body = await asker.ask(provider)
    assert (status, headers["retry-after"]) == (429, "7")
    assert asker.form.words[429] in asker.word(headers, body) and asker.message(body)


async def test_raw_bodies_and_content_types_are_sent_as_they_are(asker):
    page = raw(b"<html>Bad gateway</html>", status=502, content_type="text/html")
    async with ScriptedProvider([page, reply("Hi.", content_type="text/plain")]) as provider:
        status, headers, body = await asker.ask(provider)
        assert (status, headers["content-type"], body) == (502, "text/html", b"<html>Bad gateway</html>")
        status, headers, body = await asker.ask(provider)
        assert (status, headers["content-type"]) == (200, "text/plain")
        assert json.loads(body)


async def test_an_error_event_breaks_a_200_stream_and_an_unstreamed_request_gets_the_error(asker):  # S3
    broken = reply("Half", error_event("Too busy", type="overloaded_error", status=529), "never")
    async with ScriptedProvider([broken, broken]) as provider:
        status, _, body = await asker.ask(provider, stream=True)
        assert status == 200
        assert b"Half" in body and b"Too busy" in body and b"never" not in body
        assert not asker.ends(body)
        status, _, body = await asker.ask(provider)
        assert status == 529
        assert asker.message(body) == "Too busy"


@pytest.mark.parametrize("missing", ["terminator", "end"])
async def test_a_stream_may_lack_its_end(asker, missing):  # S3
    async with ScriptedProvider([reply("Hello.", missing=missing)]) as provider:
        _, _, body = await asker.ask(provider, stream=True)
    assert b"Hello" in body and not asker.ends(body)
    if asker.form.why is not None:
        assert (asker.form.why in body.rpartition(b"Hello")[2]) == (missing == "terminator")


# --- synchronous use


def test_with_runs_on_its_own_thread_for_synchronous_code(asker):
    before = threading.active_count()
    with ScriptedProvider([reply("Hello."), reply("Two.", stall_before_headers=True)]) as provider:
        data = json.dumps(asker.body()).encode()

        def post() -> bytes:
            request = urllib.request.Request(provider.url + asker.path(), data, asker.headers())
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.read()

        assert b"Hello." in post()
        answers: list[bytes] = []
        thread = threading.Thread(target=lambda: answers.append(post()))
        thread.start()
        assert provider.wait("stalled", 2).body == asker.body()
        provider.release()
        thread.join()
        assert b"Two." in answers[0]
    assert threading.active_count() == before


def test_with_closes_at_once_even_if_a_client_hangs_and_asserts_the_script(asker):
    with pytest.raises(ScriptError, match="1 of 1"), ScriptedProvider([reply("never")]) as provider:
        client = socket.create_connection(("127.0.0.1", int(provider.url.rpartition(":")[2])))
    client.close()


async def test_a_threaded_provider_can_be_awaited_from_another_loop(asker):
    with ScriptedProvider([reply("Hi.", stall_before_headers=True)]) as provider:
        asking = asyncio.ensure_future(asker.ask(provider))
        await provider.reached("stalled")
        provider.release()
        assert (await asking)[0] == 200


async def test_wait_on_the_providers_own_loop_is_refused():
    async with ScriptedProvider([]) as provider:
        with pytest.raises(ConfigError, match="reached"):
            provider.wait("arrived")


def test_importing_the_package_loads_no_server_and_no_client():  # I1
    code = "import sys, turnwise.testing; print(any(m in sys.modules for m in ('aiohttp', 'asyncio', 'threading')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@given(whole=st.text(), size=st.none() | st.integers(1, 5))
def test_fragments_together_are_the_text(whole, size):
    fragments = list(text(whole, size=size).fragments)
    assert "".join(fragments) == whole
    assert all(fragments)


def test_calls_can_have_any_argument_names():
    made = call("f", name="n", id="i", size=3)
    assert json.loads("".join(made.fragments)) == {"name": "n", "id": "i", "size": 3}
