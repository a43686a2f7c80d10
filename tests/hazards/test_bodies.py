"""Bodies that are not what they should be, and how they are told (S2, S3, S8): typed errors, nothing hidden, nothing followed."""

from __future__ import annotations

import gzip
import importlib.util
import json
import zlib

import pytest
from tests.hazards.conftest import Way
from tests.providers import Provider

from turnwise import Retry
from turnwise.errors import ProviderError
from turnwise.testing import ScriptedProvider, fail, raw, reply, text
from turnwise.testing.script import Reply
from turnwise.wire.serve import Response

ONCE = Retry(attempts=1)
HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def answer(*parts: object) -> Response:
    made = reply(*parts).answer  # pyright: ignore
    assert isinstance(made, Response)
    return made


async def refused(way: Way, *script: Reply) -> ProviderError:
    """The error of a turn whose only try gets these replies."""
    async with ScriptedProvider(script) as provider:
        with pytest.raises(ProviderError) as caught:
            await way.agent(provider, retry=ONCE).run("Hi")
        assert len(provider.requests) == 1
    assert caught.value.message and caught.value.info.provider == way.provider.name
    return caught.value


@pytest.mark.parametrize(
    "declared", ["text/plain", "application/octet-stream", "text/event-stream", "application/json"]
)
async def test_wrong_content_types(way: Way, declared: str) -> None:
    """The first bytes tell what a body is, not what a proxy wrote over it."""
    async with ScriptedProvider([reply("Hello there.", content_type=declared)]) as provider:
        assert (await way.agent(provider, retry=ONCE).run("Hi")).text == "Hello there."


@pytest.mark.parametrize("status", [200, 404, 502])
async def test_a_web_page(way: Way, status: int) -> None:
    """A page is no answer; its title is in the error, its markup is not."""
    error = await refused(way, raw(HTML, status=status, content_type="text/html"))
    assert error.code == {200: "protocol", 404: "not_found", 502: "server"}[status]
    assert "<html" not in error.message


@pytest.mark.parametrize("status", [200, 204, 202])
async def test_no_body(way: Way, status: int) -> None:
    error = await refused(way, raw(b"", status=status, content_type=way.content_type))
    assert error.code in ("protocol", "truncated") and error.info.retryable


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(way: Way, status: int) -> None:
    """Keys go nowhere else: the other server is never asked."""
    async with ScriptedProvider([]) as elsewhere:
        moved = raw(b"", status=status, headers={"location": f"{elsewhere.url}/v1/elsewhere"})
        error = await refused(way, moved)
        assert error.code == "redirect" and not error.info.retryable and elsewhere.requests == []


@pytest.mark.parametrize(
    "body",
    [b"{", b"null", b"[]", b"{}", b'"text"', b"data: {", b"\x00\x00\x00\x00", b"\xff\xfe", b"404 page not found"],
)
async def test_garbage(way: Way, body: bytes) -> None:
    """S8: a typed error that can be tried again, never an exception of a parser."""
    error = await refused(way, raw(body, content_type=way.content_type))
    assert error.code in ("protocol", "truncated", "server"), error.info


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_compressed_bodies(way: Way, encoding: str) -> None:
    """Compression is undone, or refused by name where this machine cannot undo it."""
    body = way.body(answer(text("compressed ", "answer "), "\u2028"))
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, _other(encoding))(body)
    script = [raw(packed, content_type=way.content_type, headers={"content-encoding": encoding}, chunk_size=50)]
    if encoding in ("br", "zstd") and not _can(encoding):
        error = await refused(way, *script)
        assert error.code == "content_encoding" and "Install" in error.info.hint and not error.info.retryable
        return
    async with ScriptedProvider(script) as provider:
        assert (await way.agent(provider, retry=ONCE).run("Hi")).text == "compressed answer \u2028"


async def test_a_body_that_is_not_compressed_as_it_says(way: Way) -> None:
    body = way.body(answer("Hello."))
    error = await refused(way, raw(body, content_type=way.content_type, headers={"content-encoding": "gzip"}))
    assert error.code in ("protocol", "connection_lost") and error.info.retryable


async def test_unknown_fields_and_events(provider: Provider) -> None:
    """What a provider adds later is passed over."""
    body = Way(provider, True).body(answer("Hello ", "there."))
    if provider.api.startswith("bedrock"):
        pytest.skip("AWS event streams carry checksums over their payloads; unknown events are tested in tests/wire")
    strange = b'{"type":"entirely.new","shiny":{"a":[1,2]},"n":1e3}'
    if provider.name == "ollama":
        lines = body.split(b"\n")
        lines[0] = lines[0][:-1] + b',"shiny":{"a":[1,2]}}'
        altered = b"\n".join(lines)
    elif provider.api.endswith("generateContent") or provider.name == "openai":
        altered = body.replace(b"data: {", b'data: {"shiny":{"a":[1,2]},')
    else:
        first, rest = body.split(b"\n\n", 1)
        altered = first + b"\n\nevent: entirely.new\ndata: " + strange + b"\n\n" + rest
    assert altered != body
    async with ScriptedProvider([raw(altered, content_type=Way(provider, True).content_type)]) as scripted:
        assert (await provider.agent(scripted, retry=ONCE).run("Hi")).text == "Hello there."


async def test_keep_alives_and_odd_line_ends(provider: Provider) -> None:
    """S2: comments, blank lines and CRLF, for all that speak in lines."""
    way = Way(provider, True)
    body = way.body(answer("Hello ", "there."))
    if provider.api.startswith("bedrock"):
        pytest.skip("AWS event streams are not lines")
    if provider.name == "ollama":
        altered = b"\n\n" + body.replace(b"\n", b"\r\n\r\n")
    else:
        altered = b"\xef\xbb\xbf: hello\r\n\r\n" + body.replace(b"\n", b"\r\n").replace(
            b"\r\n\r\n", b"\r\n\r\n: ping\r\n\r\n"
        )
    async with ScriptedProvider([raw(altered, content_type=way.content_type, chunk_size=3)]) as scripted:
        assert (await provider.agent(scripted, retry=ONCE).run("Hi")).text == "Hello there."


async def test_the_key_is_in_no_error(way: Way) -> None:
    """P6: a provider that echoes the request's credentials back is not believed so far as to print them."""
    secret = "sk-very-secret-0123456789"
    provider = way.provider
    if "api_key" not in provider.connection:
        pytest.skip("no static key")
    async with ScriptedProvider([fail(500, "It broke.")]) as scripted:
        model = provider.at(scripted)
        model.connection["api_key"] = secret
        from turnwise import Agent

        with pytest.raises(ProviderError) as caught:
            await Agent(model, retry=ONCE).run("Hi")
        assert secret not in repr(caught.value) + json.dumps(caught.value.info.for_log()) + repr(model)


def _can(encoding: str) -> bool:
    names = {"br": ("brotli", "brotlicffi"), "zstd": ("compression.zstd", "backports.zstd")}[encoding]

    def found(name: str) -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            return False

    return any(map(found, names))


def _other(encoding: str):
    def packed(body: bytes) -> bytes:
        if not _can(encoding):
            return {"br": b"\x0b\x02\x80hello\x03", "zstd": b"\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00"}[encoding]
        from importlib import import_module

        names = ("brotli", "brotlicffi") if encoding == "br" else ("compression.zstd", "backports.zstd")
        for name in names:
            try:
                return import_module(name).compress(body)
            except ModuleNotFoundError:
                continue
        raise AssertionError

    return packed
