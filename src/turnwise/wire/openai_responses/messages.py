"""Messages of a conversation as input items of the Responses API.

Each message is written from itself alone, a tool message also from the calls it answers, so a written history never changes
when it grows (rule T7). The conversation is kept here and not with the provider: items that only make sense together with a
copy there are left out. The facts this rests on, from the API's documents and its own refusals:

- Sealed reasoning goes back as it came, and only right before the item that came after it ("reasoning was provided without
  its required following item"); without a seal or its own text, an id alone finds nothing ("Items are not persisted when
  `store` is set to false").
- Messages and calls need no id. A message that is more than text (citations, a refusal) goes back as the item it was, id
  included, since only so it has a place for them; `phase` has one in either form.
- What the provider ran itself goes back unchanged, with its id. A call that the caller should have answered and that nobody
  here can (computer, shell, patch) is left out: the API refuses a call without its output.

Source: https://platform.openai.com/docs/api-reference/responses/create, /docs/guides/reasoning, /docs/guides/conversation-state
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec import Raw

from ...core.content import AssistantBlock, Audio, BlobRef, Image, Inline, Native, Opaque, Text, Thinking, ToolCall
from ...core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ...core.outcomes import ToolResult
from ..base import Blobs
from ..history import EMPTY_INPUT, MADE, UNNAMED, base64_of, is_blank, object_text, scrubbed, written_elements
from ..openai_chat.ids import plain_id
from .items import IMAGE_CALL
from .parts import Taker

_OUTPUTS = {
    "computer_call": "computer_call_output",
    "local_shell_call": "local_shell_call_output",
    "shell_call": "shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
}
"""Calls that the API wants answered, and the items that answer them where the provider ran them itself."""

_Item = dict[str, Any] | Raw


def encode_messages(messages: Sequence[Message], start: int, blobs: Blobs, origin: str, name: str) -> bytearray:
    """`messages[start:]` as comma-separated elements of the `input` array; nothing for an assistant message with nothing to
    send. Raises `ConfigError` for content that the API does not take, `StateError` for a missing blob."""
    taker = Taker(name, origin, blobs)
    out: list[_Item] = []
    for place in range(start, len(messages)):
        message = messages[place]
        if type(message) is UserMessage:
            body = message.body
            content = body if isinstance(body, str) else taker.user_parts(body)
            blank = not content or (isinstance(content, str) and content.isspace())
            out.append({"role": "user", "content": EMPTY_INPUT if blank else content})
        elif type(message) is AssistantMessage:
            body = message.body
            if not isinstance(body, str):
                out += _assistant(body, origin, blobs)
            elif body and not body.isspace():
                out.append({"role": "assistant", "content": body})
        elif type(message) is ToolMessage:
            custom = _custom_calls(messages[place - 1], origin) if place else frozenset[str]()
            out += [_result(r, r.call_id in custom, taker) for r in message.results]
    return written_elements(out)


# --- what the model said --------------------------------------------------------------------------------------------


class _Said(msgspec.Struct):
    """Neighbouring text blocks and other parts of one message. `item` is the native form of the message they came in, None for
    text that can stand in any."""

    item: bytes | None
    parts: list[dict[str, Any]]


def _assistant(body: tuple[AssistantBlock, ...], origin: str, blobs: Blobs) -> list[_Item]:
    """The items of a message. What is left out takes the reasoning before it along."""
    out: list[_Item] = []
    thoughts: list[_Item] = []
    for item in _items(body, origin, blobs):
        if type(item) is Thinking:
            thoughts.append(_thought(item))
            continue
        written = _message(item) if type(item) is _Said else cast("_Item | None", item)
        if written is not None:
            out += [*thoughts, written]
        thoughts.clear()
    return out


def _items(
    body: tuple[AssistantBlock, ...], origin: str, blobs: Blobs
) -> list[dict[str, Any] | Raw | Thinking | _Said | None]:
    """Blocks put together to items, in order; None where something is left out."""
    out: list[dict[str, Any] | Raw | Thinking | _Said | None] = []
    answered = _answered(body, origin)
    for block in body:
        match block:
            case Thinking():
                out.append(block if is_sendable(block, origin) else None)
            case ToolCall():
                out.append(_call(block, origin))
            case Opaque(kind=kind, native=native):
                if native.origin != origin:
                    out.append(None)
                elif native.data.startswith('{"item":'):
                    _say(out, native, None)
                else:
                    out.append(Raw(native.data.encode()) if kind not in _OUTPUTS or native.data in answered else None)
            case Image(native=native) if native is not None and (made := _picture(block, origin, blobs)) is not None:
                out.append(made)
            case Text(text=text, native=native):
                if not is_blank(text):
                    _say(out, native if native is not None and native.origin == origin else None, text)
                else:
                    out.append(None)
            case Image() | Audio():
                _say(out, None, MADE[type(block)])
    return out


def is_sendable(thought: Thinking, origin: str) -> bool:
    """Whether reasoning goes back: what this family sent, and sealed or spelled out (other hosts do) so that it stands alone."""
    return thought.origin == origin and thought.native is not None and thought.native.origin == origin


def _thought(block: Thinking) -> dict[str, Any]:
    item = _fields(block.native)
    if block.signature:
        item["encrypted_content"] = block.signature
    return item


def _say(out: list[Any], native: Native | None, text: str | None) -> None:
    """Add a part to the message before it, if it belongs there, else begin one. Without `text`, the part is all native."""
    item: bytes | None = None
    part: dict[str, Any] = {}
    if native is not None:
        fields = _fields(native)
        item, part = bytes(fields.get("item", b"{}")), dict(_decode_object(fields.get("part", b"{}")))
    if text is not None:
        said: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
        part = said | part
    last = out[-1] if out else None
    if type(last) is _Said and last.item == item:
        last.parts.append(part)
    else:
        out.append(_Said(item, [part]))


def _message(said: _Said) -> dict[str, Any] | None:
    """The short form where it says all, else the item as it came: its id has a place only there, and parts need it. None if
    neither can be."""
    item = _decode_object(said.item) if said.item is not None else {}
    if _read(item.get("id")) and not all(_is_plain(p) for p in said.parts):
        head = {"type": "message", "role": "assistant", "status": "completed"}
        return head | item | {"content": said.parts}
    text = "".join([str(_read(p.get("text") or p.get("refusal")) or "") for p in said.parts])
    if is_blank(text):
        return None
    short: dict[str, Any] = {"role": "assistant", "content": text}
    return short | {"phase": item["phase"]} if _read(item.get("phase")) else short


def _is_plain(part: dict[str, Any]) -> bool:
    return _read(part["type"]) == "output_text" and not _read(part["annotations"]) and not _read(part.get("logprobs"))


def _call(call: ToolCall, origin: str) -> dict[str, Any]:
    own = call.native is not None and call.native.origin == origin
    extras = _fields(call.native) if own else {}
    head: dict[str, Any] = {"type": "function_call", "call_id": plain_id(call.id), "name": call.name or UNNAMED}
    if "type" in extras:
        return head | {"type": _read(extras.pop("type")), "input": call.arguments} | extras
    return head | {"arguments": object_text(scrubbed(call.arguments))} | extras


_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


def _picture(image: Image, origin: str, blobs: Blobs) -> dict[str, Any] | None:
    """The item of a picture that the model made; None if it was made elsewhere."""
    native, source = image.native, image.source
    if native is None or native.origin != origin or not isinstance(source, Inline | BlobRef):
        return None
    fields = _fields(native)
    if _read(fields.get("type")) != IMAGE_CALL:
        return None
    return fields | {"result": base64_of(source, blobs)}


def _answered(body: tuple[AssistantBlock, ...], origin: str) -> set[str]:
    """The native form of those calls in `_OUTPUTS` whose answer came with them."""
    own = [(b.kind, b.native) for b in body if type(b) is Opaque and b.native.origin == origin]
    if not any(kind in _OUTPUTS for kind, _ in own):
        return set()
    answers = {(kind, _call_id(native)) for kind, native in own}
    return {native.data for kind, native in own if (_OUTPUTS.get(kind), _call_id(native)) in answers}


def _call_id(native: Native) -> Any:
    return _read(_fields(native).get("call_id"))


def _fields(native: Native | None) -> dict[str, Any]:
    """The fields of a native form, each still as its provider wrote it."""
    return {} if native is None else dict(_decode_object(native.data))


def _read(value: Any) -> Any:
    return msgspec.json.decode(value) if type(value) is Raw else value


# --- what tools returned --------------------------------------------------------------------------------------------


def _custom_calls(before: Message, origin: str) -> frozenset[str]:
    """The ids of those calls of a message that are calls of custom tools: their results are items of another kind."""
    if type(before) is not AssistantMessage:
        return frozenset()
    own = [c for c in before.tool_calls if c.native is not None and c.native.origin == origin]
    return frozenset([c.id for c in own if _read(_fields(c.native).get("type")) == "custom_tool_call"])


def _result(result: ToolResult, custom: bool, taker: Taker) -> dict[str, Any]:
    kind = "custom_tool_call_output" if custom else "function_call_output"
    output: str | list[dict[str, Any]] = result.text
    if not isinstance(result.body, str) and any(type(b) is not Text for b in result.body):
        output = taker.result_parts(result.body)
    return {"type": kind, "call_id": plain_id(result.call_id), "output": output}
