"""Answers as the official SDKs read them: strictly, by their own types and with their own code that puts streams together.

`read` gives one summary over all APIs, so that what is served can be compared with what was meant. Keys that an SDK's types do not
know are refused, but for those of `UNTYPED`. Bedrock's bytes go through botocore's reader of responses and event streams.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import anthropic.types as anthropic
import msgspec
from botocore import session as botocore_session
from botocore.eventstream import EventStream, EventStreamBuffer
from botocore.parsers import EventStreamJSONParser, create_parser
from cohere import V2ChatResponse
from cohere.v2.types import V2ChatStreamResponse
from google.genai.types import GenerateContentResponse
from ollama import _types as ollama
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter
from tests.wire.botocore_shapes import problems_of_answer, problems_of_event
from tests.wire.sdk_models import check_model

UNTYPED = re.compile(
    r"\.reasoning_content: is not a field of (ChoiceDelta|ChatCompletionMessage)"  # of hosts of open models
    r"|\.store: is not a field of Response"
    r"|\.obfuscation: is not a field of Response\w+DeltaEvent"
    r"|\.\w+: is not a field of ChatMessageStartEventDeltaMessage"
    r"|\.reasoning_tokens: is not a field of UsageTokens"
    r"|\.(id|index): is not a field of (ToolCall|Function)"  # Ollama's
)
"""What the APIs are known to send (from their references, and as recorded) though their SDKs' types do not have it."""


class Seen(msgspec.Struct):
    """What an SDK's user gets from an answer. `tokens` are input and output, as the API counts them."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, Any]] = []
    ids: list[str] = []
    stop: str | None = None
    tokens: tuple[int, int] | None = None

    def called(self, name: str, arguments: Any, id: str) -> None:
        self.calls.append((name, json.loads(arguments) if isinstance(arguments, str) else arguments))
        self.ids.append(id)


def read(api: str, answer: list[bytes] | bytes) -> Seen:
    """A stream, as a list of its events, or a whole body. Raises if the SDK's types do not fit."""
    streamed, whole = _READERS[api]
    return streamed(answer) if isinstance(answer, list) else whole(answer)


def documents(pieces: list[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON of server-sent events, each piece being one of them."""
    for piece in pieces:
        assert piece.endswith(b"\n\n") and piece.count(b"\n\n") == 1, piece
        name, _, data = piece.rpartition(b"data: ")
        if data.strip() != b"[DONE]":
            document = json.loads(data)
            assert not name or name == b"event: " + document["type"].encode() + b"\n"
            yield document


def known(model: Any) -> Any:
    """The model, once nothing in it is unknown to its type."""
    _agree(_unknown(model, "$"))
    return model


def _agree(problems: list[str]) -> None:
    left = [p for p in problems if not UNTYPED.search(p)]
    assert left == [], left


def _unknown(model: Any, at: str) -> list[str]:
    if isinstance(model, list):
        return [p for i, item in enumerate(model) for p in _unknown(item, f"{at}[{i}]")]
    if not isinstance(model, BaseModel):
        return []
    extra = [f"{at}.{name}: is not a field of {type(model).__name__}" for name in model.model_extra or {}]
    return extra + [p for n in model.model_fields_set for p in _unknown(getattr(model, n, None), f"{at}.{n}")]


def fitting(type_: Any, document: Any) -> Any:
    """The document as a type, once it fits: for SDKs whose own models take anything."""
    _agree(check_model(type_, document))
    return TypeAdapter[Any](type_).validate_python(document)


# --- OpenAI -----------------------------------------------------------------------------------------------------------


def _chat_stream(pieces: list[bytes]) -> Seen:
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    thinking = ""
    for document in documents(pieces):
        chunk = known(ChatCompletionChunk.model_validate(document, strict=True))
        state.handle_chunk(chunk)
        for choice in chunk.choices:
            thinking += (choice.delta.model_extra or {}).get("reasoning_content", "")
    return msgspec.structs.replace(_chat(state.current_completion_snapshot), thinking=thinking)


def _chat_whole(body: bytes) -> Seen:
    return _chat(known(ChatCompletion.model_validate_json(body, strict=True)))


def _chat(completion: Any) -> Seen:
    choice, usage = completion.choices[0], completion.usage
    out = Seen(choice.message.content or "", (choice.message.model_extra or {}).get("reasoning_content", ""))
    for call in choice.message.tool_calls or []:
        out.called(call.function.name, call.function.arguments, call.id)
    out.stop, out.tokens = choice.finish_reason, usage and (usage.prompt_tokens, usage.completion_tokens)
    return out


def _responses_stream(pieces: list[bytes]) -> Seen:
    adapter = TypeAdapter[Any](ResponseStreamEvent)
    read = [known(adapter.validate_python(d, strict=True)) for d in documents(pieces)]
    assert [e.sequence_number for e in read] == list(range(len(read)))
    assert read[-1].type in ("response.completed", "response.incomplete", "response.failed")
    out = _responses(read[-1].response)
    for kind, said in (("output_text", out.text), ("reasoning_summary_text", out.thinking)):
        assert "".join([e.delta for e in read if e.type == f"response.{kind}.delta"]) == said
    arguments: dict[int, str] = {}
    for event in read:
        if event.type == "response.function_call_arguments.delta":
            arguments[event.output_index] = arguments.get(event.output_index, "") + event.delta
    assert [json.loads(a) for a in arguments.values()] == [a for _, a in out.calls]
    return out


def _responses_whole(body: bytes) -> Seen:
    return _responses(known(Response.model_validate_json(body, strict=True)))


def _responses(response: Any) -> Seen:
    out = Seen(response.output_text, stop=response.status)
    for item in response.output:
        if item.type == "function_call":
            out.called(item.name, item.arguments, item.call_id)
        elif item.type == "reasoning":
            out.thinking += "".join([s.text for s in item.summary])
    out.tokens = response.usage and (response.usage.input_tokens, response.usage.output_tokens)
    return out


# --- Anthropic --------------------------------------------------------------------------------------------------------


def _anthropic_stream(pieces: list[bytes]) -> Seen:
    adapter, blocks, out = TypeAdapter[Any](anthropic.RawMessageStreamEvent), dict[int, Any](), Seen()
    arguments: dict[int, str] = {}
    for document in documents(pieces):
        if document["type"] == "ping":  # no event by the types: the SDK leaves them out
            continue
        event = known(adapter.validate_python(document, strict=True))
        match event.type:
            case "message_start":
                out.tokens = (event.message.usage.input_tokens, 0)
            case "content_block_start":
                blocks[event.index] = event.content_block
            case "content_block_delta" if event.delta.type == "input_json_delta":
                arguments[event.index] = arguments.get(event.index, "") + event.delta.partial_json
            case "content_block_delta":
                out.text += getattr(event.delta, "text", "")
                out.thinking += getattr(event.delta, "thinking", "")
            case "message_delta":
                assert out.tokens is not None
                out.stop, out.tokens = event.delta.stop_reason, (out.tokens[0], event.usage.output_tokens)
            case _:
                pass
    for index, whole in arguments.items():
        out.called(blocks[index].name, whole, blocks[index].id)
    return out


def _anthropic_whole(body: bytes) -> Seen:
    return _anthropic(known(anthropic.Message.model_validate_json(body, strict=True)))


def _anthropic(message: Any) -> Seen:
    out = Seen(stop=message.stop_reason, tokens=(message.usage.input_tokens, message.usage.output_tokens))
    for block in message.content:
        if block.type == "tool_use":
            out.called(block.name, block.input, block.id)
        elif block.type == "thinking":
            out.thinking += block.thinking
        elif block.type == "text":
            out.text += block.text
    return out


# --- Google -----------------------------------------------------------------------------------------------------------


def _google_stream(pieces: list[bytes]) -> Seen:
    return _google([json.dumps(d).encode() for d in documents(pieces)])


def _google(bodies: list[bytes]) -> Seen:
    out = Seen()
    for body in bodies:
        answer = GenerateContentResponse.model_validate_json(body)  # refuses unknown keys by itself
        assert answer.candidates and answer.candidates[0].content
        for part in answer.candidates[0].content.parts or []:
            if part.function_call:
                out.called(part.function_call.name or "", part.function_call.args, part.function_call.id or "")
            elif part.thought:
                out.thinking += part.text or ""
            else:
                out.text += part.text or ""
        reason, usage = answer.candidates[0].finish_reason, answer.usage_metadata
        out.stop = reason.value if reason else None
        counted = usage and ((usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0))
        out.tokens = (usage.prompt_token_count or 0, counted or 0) if usage else None
    return out


# --- Cohere -----------------------------------------------------------------------------------------------------------


def _cohere_stream(pieces: list[bytes]) -> Seen:
    out = Seen()
    calls: dict[int, list[str]] = {}
    for document in documents(pieces):
        event = fitting(V2ChatStreamResponse, document)
        said = getattr(event.delta, "message", None) if hasattr(event, "delta") else None
        match event.type:
            case "content-start" | "content-delta":
                out.text += said.content.text or ""
                out.thinking += said.content.thinking or ""
            case "tool-call-start":
                calls[event.index] = [said.tool_calls.function.name, said.tool_calls.id, ""]
            case "tool-call-delta":
                calls[event.index][2] += said.tool_calls.function.arguments
            case "message-end":
                out.stop, out.tokens = event.delta.finish_reason, _cohere_tokens(event.delta.usage)
            case _:
                pass
    for name, id, arguments in calls.values():
        out.called(name, arguments, id)
    return out


def _cohere_whole(body: bytes) -> Seen:
    answer = fitting(V2ChatResponse, json.loads(body))
    out = Seen(stop=answer.finish_reason, tokens=_cohere_tokens(answer.usage))
    for item in answer.message.content or []:
        if item.type == "text":
            out.text += item.text
        else:
            out.thinking += item.thinking
    for call in answer.message.tool_calls or []:
        out.called(call.function.name, call.function.arguments, call.id)
    return out


def _cohere_tokens(usage: Any) -> tuple[int, int] | None:
    return usage and (usage.tokens.input_tokens, usage.tokens.output_tokens)


# --- Bedrock ----------------------------------------------------------------------------------------------------------


class _Body:
    """The body of a response, as botocore wants it."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def stream(self) -> Iterator[bytes]:
        return iter(self.pieces)

    def close(self) -> None:
        pass


@cache
def _operation(name: str) -> Any:
    return botocore_session.get_session().get_service_model("bedrock-runtime").operation_model(name).output_shape


def _bedrock_stream(pieces: list[bytes]) -> Seen:
    shape, out = _operation("ConverseStream").members["stream"], Seen()
    calls: dict[int, list[str]] = {}
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(pieces))
    _agree([p for m in buffer for p in problems_of_event(m.headers[":event-type"], json.loads(m.payload))])
    for event in EventStream(_Body(pieces), shape, EventStreamJSONParser(), "ConverseStream"):
        ((kind, said),) = event.items()
        index = said.get("contentBlockIndex", -1)
        match kind:
            case "contentBlockStart":
                calls[index] = [said["start"]["toolUse"]["name"], said["start"]["toolUse"]["toolUseId"], ""]
            case "contentBlockDelta":
                delta = said["delta"]
                out.text += delta.get("text", "")
                out.thinking += delta.get("reasoningContent", {}).get("text", "")
                if "toolUse" in delta:
                    calls[index][2] += delta["toolUse"]["input"]
            case "messageStop":
                out.stop = said["stopReason"]
            case "metadata":
                out.tokens = (said["usage"]["inputTokens"], said["usage"]["outputTokens"])
            case _:
                assert kind in ("messageStart", "contentBlockStop")
    for name, id, arguments in calls.values():
        out.called(name, arguments, id)
    return out


def _bedrock_whole(body: bytes) -> Seen:
    _agree(problems_of_answer(json.loads(body)))
    response = {"status_code": 200, "headers": {"content-type": "application/json"}, "body": body}
    answer = create_parser("rest-json").parse(response, _operation("Converse"))
    out = Seen(stop=answer["stopReason"], tokens=(answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]))
    for block in answer["output"]["message"]["content"]:
        out.text += block.get("text", "")
        out.thinking += block.get("reasoningContent", {}).get("reasoningText", {}).get("text", "")
        if used := block.get("toolUse"):
            out.called(used["name"], used["input"], used["toolUseId"])
    return out


# --- Ollama -----------------------------------------------------------------------------------------------------------


def _ollama_stream(pieces: list[bytes]) -> Seen:
    assert all(p.endswith(b"\n") and p.count(b"\n") == 1 for p in pieces)
    return _ollama(pieces)


def _ollama(bodies: list[bytes]) -> Seen:
    out = Seen()
    for number, body in enumerate(bodies, 1):
        answer = fitting(ollama.ChatResponse, json.loads(body))
        out.text += answer.message.content or ""
        out.thinking += answer.message.thinking or ""
        for call in answer.message.tool_calls or []:
            out.called(call.function.name, call.function.arguments, "")
        assert answer.done is (number == len(bodies))
        if answer.done:
            out.stop, out.tokens = answer.done_reason, (answer.prompt_eval_count or 0, answer.eval_count or 0)
    return out


_READERS: dict[str, tuple[Callable[[list[bytes]], Seen], Callable[[bytes], Seen]]] = {
    "anthropic.messages": (_anthropic_stream, _anthropic_whole),
    "openai.chat": (_chat_stream, _chat_whole),
    "openai.responses": (_responses_stream, _responses_whole),
    "gemini.generateContent": (_google_stream, lambda body: _google([body])),
    "vertex.generateContent": (_google_stream, lambda body: _google([body])),
    "cohere.v2.chat": (_cohere_stream, _cohere_whole),
    "bedrock.converse": (_bedrock_stream, _bedrock_whole),
    "ollama.chat": (_ollama_stream, lambda body: _ollama([body])),
}
