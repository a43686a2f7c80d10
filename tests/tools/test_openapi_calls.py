"""Tools of documents against a real server over loopback: what they send, what the model is told, and that nothing hangs or leaks."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.tools.openapi_server import echo_server

from turnwise import Agent, Deadlines, ToolContext, Tools
from turnwise.core.messages import ToolMessage
from turnwise.core.outcomes import ToolResult
from turnwise.errors import ToolError
from turnwise.openapi import ApiKey, Basic, Bearer, Outgoing
from turnwise.testing import ScriptedProvider, call, reply

NAMES = ("pets", "missing", "busy", "moved", "nothing", "picture", "binary", "latin", "large", "slow", "stall")
SPEC: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://never.asked.test"}],
    "paths": {
        **{f"/{name}": {"get": {"operationId": name}} for name in NAMES},
        "/pets/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "put": {
                "operationId": "change",
                "parameters": [
                    {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {"name": "X-Why", "in": "header", "schema": {"type": "string"}},
                ],
                "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
            },
        },
        "/form": {"post": {"operationId": "form", "requestBody": {"content": {
            "application/x-www-form-urlencoded": {"schema": {"type": "object"}}}}}},
    },
}  # fmt: skip


async def results_of(*calls: tuple[str, dict[str, Any]], url: str, **options: Any) -> list[ToolResult]:
    """What came of these calls, in one turn of a real agent."""
    asked = [call(name, **arguments) for name, arguments in calls]
    async with ScriptedProvider([reply(*asked), reply("Done.")]) as provider:
        tools = Tools.from_openapi(SPEC, base_url=url, **options)
        agent = Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", tools=tools)
        async with agent.session() as session:
            await session.run("Go.")
            message = session.messages[-2]
            assert isinstance(message, ToolMessage)
            return list(message.results)


async def test_a_request_is_what_the_document_says() -> None:
    async with echo_server() as (url, echo):
        arguments = {"id": "a/b c", "tag": ["x&", "y"], "X-Why": "because", "body": {"name": "Rex"}}
        result, form = await results_of(
            ("change", arguments), ("form", {"body": {"a": "1&2"}}), url=url, headers={"X-Own": "o"}
        )
        seen = echo.seen[0]
        assert seen["method"] == "PUT" and seen["path"] == "/pets/a%2Fb%20c?tag=x%26&tag=y"
        assert seen["headers"]["x-why"] == "because" and seen["headers"]["x-own"] == "o"
        assert seen["headers"]["content-type"] == "application/json" and seen["body"] == '{"name":"Rex"}'
        assert json.loads(str(result.body))["method"] == "PUT"
        assert json.loads(str(form.body))["body"] == "a=1%262"


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ("tok-en", "authorization", "Bearer tok-en"),
        (Bearer("tok-en"), "authorization", "Bearer tok-en"),
        (Basic("ann", "tok-en"), "authorization", "Basic YW5uOnRvay1lbg=="),
        (ApiKey("tok-en", "X-Key"), "x-key", "tok-en"),
        (ApiKey("tok-en", "sid", "cookie"), "cookie", "sid=tok-en"),
    ],
)
async def test_keys_are_sent_and_never_told_on(auth: Any, header: str, value: str) -> None:
    """P6: the server says its headers back, and the model sees none of the key."""
    async with echo_server() as (url, echo):
        (result,) = await results_of(("pets", {}), url=url, auth=auth)
        assert echo.seen[0]["headers"][header] == value
        assert "tok-en" not in str(result.body) and "YW5uOnRvay1lbg" not in str(result.body)
        assert "***" in str(result.body)


async def test_a_key_in_the_query_is_masked_too() -> None:
    """P6"""
    async with echo_server() as (url, echo):
        (result,) = await results_of(("pets", {}), url=url, auth=ApiKey("tok/en", "key", "query"))
        assert echo.seen[0]["path"] == "/pets?key=tok%2Fen"
        assert "tok%2Fen" not in str(result.body)


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_function_signs_each_request(is_async: bool) -> None:
    signed: list[Outgoing] = []

    def sign(request: Outgoing) -> dict[str, str]:
        signed.append(request)
        return {"X-Signature": f"sig-of-{len(request.body)}"}

    async def later(request: Outgoing) -> dict[str, str]:
        await asyncio.sleep(0)
        return sign(request)

    async with echo_server() as (url, echo):
        (result,) = await results_of(
            ("change", {"id": "1", "body": {"a": 1}}), url=url, auth=later if is_async else sign
        )
        assert echo.seen[0]["headers"]["x-signature"] == "sig-of-7"
        assert (signed[0].method, signed[0].url, signed[0].body) == ("PUT", f"{url}/pets/1", b'{"a":1}')
        assert "sig-of-7" not in str(result.body)


async def test_a_function_that_fails_ends_the_call_and_nothing_is_sent() -> None:
    def sign(_: Outgoing) -> dict[str, str]:
        raise ToolError("no key today")

    async with echo_server() as (url, echo):
        (result,) = await results_of(("pets", {}), url=url, auth=sign)
        assert "no key today" in str(result.body) and not echo.seen


async def test_answers_of_all_kinds() -> None:
    async with echo_server() as (url, _):
        nothing, picture, binary, latin = await results_of(
            ("nothing", {}), ("picture", {}), ("binary", {}), ("latin", {}), url=url
        )
        assert nothing.body == "[status 204, no content]"
        assert not isinstance(picture.body, str) and picture.body[0].__class__.__name__ == "Image"
        assert "3 bytes of application/octet-stream" in str(binary.body)
        assert latin.body == "größe"


async def test_failures_are_told_with_their_status() -> None:
    async with echo_server() as (url, _):
        missing, moved, busy = await results_of(("missing", {}), ("moved", {}), ("busy", {}), url=url)
        error = missing.outcome.error
        assert (error.code, error.status, error.retryable) == ("http_error", 404, False)
        assert error.message == "GET /missing was answered with status 404: no such pet"
        assert "redirects" in moved.outcome.error.message and moved.outcome.error.status == 302
        assert (busy.outcome.error.status, busy.outcome.error.retryable, busy.outcome.error.retry_after_s) == (
            503,
            True,
            7.0,
        )


async def test_reading_is_tried_again_if_that_was_wished() -> None:
    """E6"""
    async with echo_server() as (url, echo):
        (result,) = await results_of(("busy", {}), url=url, retries=2)
        assert json.loads(str(result.body)) == {"tries": 3} and len(echo.seen) == 3


async def test_a_long_answer_is_capped_twice() -> None:
    """E7: not more than a million bytes are read, and the model gets what a result may have."""
    async with echo_server() as (url, _):
        (result,) = await results_of(("large", {}), url=url, max_result_chars=2000)
        assert len(str(result.body)) <= 2000 and result.artifact is not None
        assert 1_000_000 <= result.artifact.size < 1_000_100


async def test_a_server_that_is_not_there() -> None:
    (result,) = await results_of(("pets", {}), url="http://127.0.0.1:9")
    assert result.outcome.error.code == "connection_refused" and result.outcome.error.branch == "tool"


@pytest.mark.parametrize("name", ["slow", "stall"])
async def test_a_server_that_hangs_ends_in_time(name: str) -> None:
    """C5: and its connection is closed."""
    async with echo_server() as (url, echo):
        (result,) = await results_of((name, {}), url=url, timeout_s=0.2)
        assert type(result.outcome).__name__ == "Timeout"
        if name == "slow":
            await asyncio.wait_for(echo.left.wait(), 5)


async def test_an_interrupt_closes_the_connection() -> None:
    """C1"""
    async with echo_server() as (url, echo), ScriptedProvider([reply(call("slow"))]) as provider:
        tools = Tools.from_openapi(SPEC, base_url=url)
        agent = Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", tools=tools, deadlines=Deadlines())
        async with agent.session() as session:
            running = asyncio.ensure_future(session.run("Go."))
            await echo.reached.wait()
            session.interrupt()
            assert (await running).reason == "interrupted"
            await asyncio.wait_for(echo.left.wait(), 5)


async def test_many_addresses_are_not_remembered_for_ever() -> None:
    from turnwise.models import transport

    async with echo_server() as (url, echo):
        client = transport.HttpTransport()
        try:
            for n in range(transport.MAX_ROUTES + 5):
                client._route(f"{url}/{n}")  # pyright: ignore[reportPrivateUsage]
            assert len(client._routes) <= transport.MAX_ROUTES  # pyright: ignore[reportPrivateUsage]
        finally:
            await client.close()
        assert not echo.seen


async def test_without_a_runtime_nothing_is_sent() -> None:
    tool = Tools.from_openapi(SPEC)["pets"]
    with pytest.raises(ToolError) as raised:
        await tool.invoke(tool.decode("{}"), ToolContext(None))
    assert raised.value.code == "no_runtime"
