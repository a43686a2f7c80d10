"""Redaction of what is sent: secrets go, words stay, the journal keeps what was said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.conftest import Host

from turnwise import Runtime, tool
from turnwise.errors import ConfigError
from turnwise.middleware import redact
from turnwise.testing import ScriptedProvider, call, raw_call, reply

KEY = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz012345"

SECRET = {
    KEY: KEY,
    "the key AKIAABCDEFGHIJKLMNOP is": "AKIAABCDEFGHIJKLMNOP",
    "ghp_0123456789abcdefghijklmnopqrstuvwxyz": "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
    "Authorization: Bearer abcdef0123456789": "abcdef0123456789",
    "password=hunter2hunter2": "hunter2hunter2",
    'api_key: "0123456789abcdef"': "0123456789abcdef",
    '{"client_secret":"s3cr3t-value"}': "s3cr3t-value",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----": "MIIE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijkl": "eyJzdWIiOiIxMjM0In0",
}

HARMLESS = [
    "author: Jane Austen",
    '{"author": "Jane Austen", "max_tokens": 4096}',
    "max_tokens=4096",
    "The token count is 512; tokens: 1024",
    "secretary: Mr Bean",
    "He keeps no secret, and the password is a word.",
    "monkey=banana and keyboard: qwerty",
    "authority=high, passage: 12",
    "sk-short",
    "https://example.com/basic setup",
    "task-0123456789",
]


@pytest.mark.parametrize("text", SECRET)
def test_secrets_are_masked(text: str) -> None:
    masker = redact(from_environment=False)
    assert SECRET[text] not in masker(text) and "[redacted]" in masker(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_words_survive(text: str) -> None:
    """`author` and `max_tokens` survive: values are masked, never a name, and never by a part of one."""
    assert redact(from_environment=False)(text) == text


def test_people_are_masked_when_asked_for() -> None:
    masker = redact("email", "card", "iban")
    assert masker("Write to ann@example.org.") == "Write to [redacted]."
    assert masker("Card 4111 1111 1111 1111 ok") == "Card [redacted] ok"
    assert masker("Order 4111 1111 1111 1112 ok") == "Order 4111 1111 1111 1112 ok"
    assert masker("IBAN DE89 3704 0044 0532 0130 00.") == "IBAN [redacted]."
    assert masker(KEY) == KEY


@given(st.text(max_size=200))
def test_masking_twice_is_masking_once(text: str) -> None:
    masker = redact(from_environment=False)
    assert masker(masker(text)) == masker(text)


@tool
async def vault(password: str = "", author: str = "", a: Any = None) -> str:
    """Opens the vault."""
    return f"It holds {KEY} and card 1."


async def test_everything_that_is_sent_is_masked_and_nothing_that_is_kept(any_host: Host) -> None:
    """P6: prompt, instructions, results, arguments and known secrets; the journal has them as they were."""
    script = [reply(call("vault", password="swordfish1", author="Jane")), reply("Done."), reply("Ok.")]
    environ = {"ACME_API_KEY": "plain-looking-value", "EDITOR": "vim-is-no-secret"}
    async with ScriptedProvider(script) as provider, Runtime(environ=environ) as runtime:
        agent = any_host.agent(
            provider,
            vault,
            middleware=[redact(secrets=["blue horse"])],
            instructions=f"The key is {KEY}.",
            runtime=runtime,
        )
        session = agent.session()
        prompt = "Ask the blue horse, it knows plain-looking-value; max_tokens stay, vim-is-no-secret."
        await session.run(prompt)
        await session.run("And?")
        for request in provider.requests:
            sent = request.raw.decode()
            for secret in (KEY, "blue horse", "plain-looking-value"):
                assert secret not in sent
            assert "max_tokens stay, vim-is-no-secret" in sent
        assert "swordfish1" not in provider.requests[1].raw.decode()
        assert "Jane" in provider.requests[1].raw.decode()
        kept = str(session.messages)
        assert KEY in kept and "blue horse" in kept and "swordfish1" in kept


async def test_masked_arguments_are_still_json(host: Host) -> None:
    """T1: a call that is sent again stays one that its API takes."""
    pem = '-----BEGIN PRIVATE KEY-----\nab"c\n-----END PRIVATE KEY-----'
    raw = json.dumps({"password": "x", "a": {"b": [pem, 'say "hi"']}})
    script = [reply(raw_call("vault", raw)), reply("Done.")]
    async with ScriptedProvider(script) as provider:
        await host.agent(provider, vault, middleware=[redact()]).run("Go")
        sent = provider.requests[1].raw.decode()
        assert "PRIVATE KEY" not in sent


async def test_with_nothing_to_mask_the_request_is_the_plain_one(host: Host) -> None:
    """T7: the session's own kept bytes serve."""
    bodies: list[Any] = []
    for mw in ([], [redact()]):
        async with ScriptedProvider([reply("One."), reply("Two.")]) as provider:
            session = host.agent(provider, middleware=mw).session()
            await session.run("Hi")
            await session.run("Ho")
            bodies.append([r.raw for r in provider.requests])
    assert bodies[0] == bodies[1]


async def test_the_prefix_of_a_masked_conversation_is_stable(host: Host) -> None:
    """T7: the same text is masked alike each time, so each request begins with the bytes of the one before."""
    async with ScriptedProvider([reply(f"Key {KEY} {n}.") for n in range(4)]) as provider:
        session = host.agent(provider, middleware=[redact()]).session()
        for n in range(4):
            await session.run(f"Is it {KEY}? {n}")
        contents = [[m["content"] for m in r.body["messages"]] for r in provider.requests]
        flat = [str(c) for c in contents[-1]]
        assert KEY not in str(contents)
        assert len(flat) >= 7


@pytest.mark.parametrize("bad", ["emial", "(unclosed"])
def test_a_pattern_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError):
        redact(bad)
