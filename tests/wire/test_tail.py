"""What is said last for one request only: accepted behind any history by every API, and no part of what is kept (rules T7, T8)."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.examples import examples
from tests.providers import PROVIDERS, Provider
from tests.wire.histories import histories
from tests.wire.official import official_problems

from turnwise.core.content import Text, ToolCall
from turnwise.core.errors import ConfigError
from turnwise.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from turnwise.core.outcomes import ToolResult
from turnwise.core.request import RequestHead, ToolSpec
from turnwise.models.handle import resolve_model
from turnwise.runtime.prefix import Prefix
from turnwise.testing import check
from turnwise.wire.base import Codec, EncodedHead
from turnwise.wire.openai_chat.codec import chat_codec
from turnwise.wire.openai_chat.profiles import PROFILES

SAID = 'It is "noon": ünï \\ 🇳🇴\nand one step is left.'
TOOLS = tuple([ToolSpec(name, "A tool.", '{"type":"object","properties":{}}') for name in ("map", "weather")])
LONG = "Be careful. " * 400  # so that marks for the provider's cache are set


def placed(provider: Provider, instructions: str = LONG) -> tuple[Codec, EncodedHead]:
    handle = resolve_model(provider.at("https://example.com"), {})
    return handle.codec, handle.codec.encode_head(handle.head(RequestHead("", instructions, TOOLS)))


def body_of(codec: Codec, head: EncodedHead, history: list[Message], tail: str, prefix: Prefix | None = None) -> bytes:
    return b"".join((Prefix() if prefix is None else prefix).body(head, history, codec, {}, tail))


def parsed(raw: bytes) -> dict[str, Any]:
    return json.loads(raw)


def texts(value: Any) -> list[str]:
    """Every string in a JSON value, in order."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in texts(one)]


def rows_of(body: dict[str, Any]) -> list[Any]:
    """The messages of a body, by whatever name its API has for them."""
    return next(body[name] for name in ("messages", "contents", "input") if name in body)


@pytest.mark.parametrize("name", PROVIDERS)
@given(history=histories())
@examples(25)
def test_any_history_may_be_followed(name: str, history: list[Message]) -> None:
    """It is the last thing that the user says, and the whole is what official types and semantic validators accept."""
    provider = PROVIDERS[name]
    codec, head = placed(provider)
    try:
        plain, raw = body_of(codec, head, history, ""), body_of(codec, head, history, SAID)
    except ConfigError:
        assume(False)  # the history holds what this API does not take
        raise
    body = parsed(raw)
    assert check(provider.api, body, path=head.path) == check(provider.api, parsed(plain), path=head.path)
    # The items that histories are made of here may be none of the API's own.
    assert official_problems(provider.api, body, head.path, True) == official_problems(
        provider.api, parsed(plain), head.path, True
    )
    last = rows_of(body)[-1]
    assert last["role"] == "user" and texts(last)[-1].endswith(SAID)
    before, after = rows_of(parsed(plain)), rows_of(body)
    if name == "bedrock":  # wants its partners to take turns
        assert [*before[:-1], before[-1]["content"]] == [*after[:-1], after[-1]["content"][:-1]]
    else:
        assert before == after[:-1]


@pytest.mark.parametrize("profile", ["openai", "mistral", "perplexity"])
@given(history=histories())
@examples(30)
def test_any_history_may_be_followed_where_partners_take_turns(profile: str, history: list[Message]) -> None:
    codec = chat_codec(PROFILES[profile])
    head = codec.encode_head(RequestHead("m", "Be brief."))
    try:
        raw = body_of(codec, head, history, SAID)
    except ConfigError:
        assume(False)
        raise
    rows = rows_of(parsed(raw))
    assert rows[-1]["role"] == "user" and texts(rows[-1])[-1].endswith(SAID)
    if PROFILES[profile].alternates:
        roles = [row["role"] for row in rows if row["role"] != "system"]
        assert all(one != other for one, other in pairwise(roles)), roles


@pytest.mark.parametrize("name", PROVIDERS)
@given(history=histories(), cut=st.integers(1, 12))
@examples(12)
def test_it_is_no_part_of_what_is_kept(name: str, history: list[Message], cut: int) -> None:
    """T7: a request that follows has the bytes that it would have had without it, cache marks and all."""
    codec, head = placed(PROVIDERS[name])
    told, untold = Prefix(), Prefix()
    try:
        for end in (min(cut, len(history)), len(history)):
            body_of(codec, head, history[:end], SAID, told)
            body_of(codec, head, history[:end], "", untold)
    except ConfigError:
        assume(False)
    further = [*history, UserMessage("And now?", 100)]
    assert body_of(codec, head, further, "", told) == body_of(codec, head, further, "", untold)


@pytest.mark.parametrize("name", ["anthropic", "bedrock"])
def test_marks_stay_on_what_is_kept(name: str) -> None:
    """The provider is told to cache up to the last kept block, and nothing behind it."""
    codec, head = placed(PROVIDERS[name])
    history: list[Message] = [UserMessage("Hi"), AssistantMessage("Yes?"), UserMessage((Text("What now?"),))]
    with_it, without = (rows_of(parsed(body_of(codec, head, history, tail))) for tail in (SAID, ""))
    marked = [i for i, text in enumerate(texts(with_it)) if text in ("ephemeral", "default")]
    assert marked == [i for i, text in enumerate(texts(without)) if text in ("ephemeral", "default")] and marked
    assert texts(with_it)[-1] == SAID


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_model_that_is_to_go_on_by_itself_is_not_interrupted(name: str) -> None:
    """After a pause the conversation ends with the assistant, whose next words go on from there."""
    codec, head = placed(PROVIDERS[name])
    history: list[Message] = [UserMessage("Hi"), AssistantMessage("Well")]
    assert body_of(codec, head, history, SAID) == body_of(codec, head, history, "")


class Long(list[Message]):
    """A history that may be looked at from its end, and not be walked or copied."""

    def __iter__(self) -> Any:
        raise AssertionError("the history was walked")

    def __getitem__(self, index: Any) -> Any:
        assert not isinstance(index, slice) or index.start == len(self), "the history was copied"
        return super().__getitem__(index)


@pytest.mark.parametrize("profile", [*PROVIDERS, "perplexity"])
def test_a_long_history_is_not_copied(profile: str) -> None:
    codec = chat_codec(PROFILES[profile]) if profile == "perplexity" else placed(PROVIDERS[profile])[0]
    asked = AssistantMessage((ToolCall("t1.s1.c0", "map", "{}"),), 1, 1)
    history = Long([UserMessage("Hi"), asked, ToolMessage((ToolResult("t1.s1.c0", "x"),), 1, 1)])
    assert b"left." in codec.tail(history, SAID).data
