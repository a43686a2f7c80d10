"""Messages of a conversation in the form of Converse.

Each message is written as one element of its own, so a written history never changes when it grows (rule T7). The API wants user
and assistant to take turns and refuses two messages of one role in a row; merging them would change what was written, so a
short message of the other role is put between. It depends on the message before alone. Blank text and reasoning that is
not its own are never sent (rule T5). Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html,
…/API_runtime_ContentBlock.html, and the API's own error messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec

from ...core.content import (
    AssistantBlock,
    Audio,
    Document,
    Image,
    Native,
    Opaque,
    ResultBlock,
    Text,
    Thinking,
    ToolCall,
    UserBlock,
)
from ...core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ...core.outcomes import ToolResult
from ..base import Blobs
from ..history import (
    CONVERSATION_GOES_ON,
    EMPTY_INPUT,
    EMPTY_RESULT,
    MADE,
    UNNAMED,
    is_blank,
    object_of,
    own_fields,
    written_elements,
)
from ..openai_chat.ids import nine_id
from .media import audio, document, image

NO_REPLY = "(no reply)"
"""Stands for an answer in which nothing can be sent, and between two messages of the user."""
SEE_DOCUMENT = "(see the document above)"
"""Ends a message that would end in a document: the API wants text beside one, and takes no cache point right behind one."""

Role = Literal["user", "assistant"]
Block = dict[str, Any] | msgspec.Raw


class Element(msgspec.Struct, frozen=True, gc=False):
    role: Role
    content: list[Block]


GAP_OF_USER = Element("assistant", [{"text": NO_REPLY}])
GAP_OF_ASSISTANT = Element("user", [{"text": CONVERSATION_GOES_ON}])


def encode_messages(messages: Sequence[Message], start: int, blobs: Blobs, origin: str) -> bytearray:
    """`messages[start:]` as comma-separated elements of the `messages` array, for a model of that signature family.

    Raises `ConfigError` for content the API does not take, `StateError` for a missing blob.
    """
    writer = _Writer(messages, start, blobs, origin)
    # The API wants the user first, as if the assistant had spoken before.
    before: Role = role_of(messages[start - 1]) if start else "assistant"
    out: list[Element] = []
    for message in messages[start:] if start else messages:
        role = role_of(message)
        if role == before:
            out.append(GAP_OF_USER if role == "user" else GAP_OF_ASSISTANT)
        out.append(Element(role, writer.content(message)))
        before = role
    return written_elements(out)


def role_of(message: Message) -> Role:
    return "assistant" if type(message) is AssistantMessage else "user"


def is_sendable(thought: Thinking, origin: str) -> bool:
    """Whether reasoning goes back to a model: only what its family sealed itself."""
    return thought.origin == origin and bool(thought.signature)


class _Writer:
    """Writes messages, counting the documents of the conversation: the first is found when it is met."""

    def __init__(self, messages: Sequence[Message], start: int, blobs: Blobs, origin: str) -> None:
        self._origin = origin
        self._messages = messages
        self._start = start
        self._blobs = blobs
        self._documents: int | None = None

    def content(self, message: Message) -> list[Block]:
        """What a message says; never empty."""
        if type(message) is UserMessage:
            said = message.body
            if isinstance(said, str):
                return [{"text": EMPTY_INPUT if is_blank(said) else said}]
            return _closed(self._blocks(said)) or [{"text": EMPTY_INPUT}]
        if type(message) is AssistantMessage:
            said = message.body
            if isinstance(said, str):
                return [{"text": said.rstrip() or NO_REPLY}]
            return _assistant_blocks(said, self._origin) or [{"text": NO_REPLY}]
        return self._results(cast(ToolMessage, message).results)

    def _blocks(self, body: tuple[UserBlock, ...] | tuple[ResultBlock, ...]) -> list[Block]:
        out: list[Block] = []
        for block in body:
            match block:
                case Text(text=text):
                    if not is_blank(text):
                        out.append({"text": text})
                case Image():
                    out.append(image(block, self._blobs))
                case Audio():
                    out.append(audio(block, self._blobs))
                case Document():
                    out.append(document(block, self._next_document(), self._blobs))
        return out

    def _results(self, results: tuple[ToolResult, ...]) -> list[Block]:
        """All results, then what cannot stand in one: documents, which not all models take there, audio, and the images of
        failed calls, in which Claude takes text alone."""
        out: list[Block] = []
        after: list[Block] = []
        for result in results:
            inner = (Text(result.body),) if isinstance(result.body, str) else result.body
            stays = (Text,) if result.is_error else (Text, Image)
            content = self._blocks(tuple([b for b in inner if type(b) in stays]))
            after += self._blocks(tuple([b for b in inner if type(b) not in stays]))
            block: dict[str, Any] = {
                "toolUseId": nine_id(result.call_id),
                "content": content or [{"text": EMPTY_RESULT}],
            }
            if result.is_error:
                block["status"] = "error"
            out.append({"toolResult": block})
        return _closed(out + after)

    def _next_document(self) -> int:
        if self._documents is None:
            self._documents = sum([_documents_in(m) for m in self._messages[: self._start]])
        self._documents += 1
        return self._documents


def _documents_in(message: Message) -> int:
    bodies = (
        [r.body for r in message.results]
        if type(message) is ToolMessage
        else [message.body]
        if type(message) is UserMessage
        else []
    )
    return sum([type(block) is Document for body in bodies if not isinstance(body, str) for block in body])


def _closed(blocks: list[Block]) -> list[Block]:
    """The blocks of a message, with text behind a document that would be the last, or that has no text beside it."""
    names = [next(iter(b)) for b in blocks if isinstance(b, dict)]
    if "document" in names and (names[-1] == "document" or "text" not in names):
        return [*blocks, {"text": SEE_DOCUMENT}]
    return blocks


# --- what the assistant said ------------------------------------------------------------------------------------------


def _assistant_blocks(body: tuple[AssistantBlock, ...], origin: str) -> list[Block]:
    kept = list(body)
    while kept and _cannot_end(kept[-1], origin):
        kept.pop()
    out: list[Block] = []
    for position, block in enumerate(kept):
        match block:
            case Text(text=text, native=native):
                text = text.rstrip() if position == len(kept) - 1 else text
                out += _text(text, native, origin)
            case Thinking():
                if is_sendable(block, origin):
                    out.append(_thinking(block))
            case ToolCall():
                use = {
                    "toolUseId": nine_id(block.id),
                    "name": block.name or UNNAMED,
                    "input": object_of(block.arguments),
                }
                out.append({"toolUse": use})
            case Opaque(native=native):
                if native.origin == origin:
                    out.append(msgspec.Raw(native.data.encode()))
            case Image() | Audio():
                out.append({"text": MADE[type(block)]})
    return out


def _cannot_end(block: AssistantBlock, origin: str) -> bool:
    """Whether an assistant message may not end in this block: thinking, and what is not sent at all."""
    match block:
        case Thinking():
            return True
        case Text(text=text, native=native):
            return is_blank(text) and not own_fields(native, origin)
        case Opaque(native=native):
            return native.origin != origin
        case _:
            return False


def _text(text: str, native: Native | None, origin: str) -> list[Block]:
    said: list[dict[str, Any]] = [] if is_blank(text) else [{"text": text}]
    citations = own_fields(native, origin)
    if not citations:
        return cast("list[Block]", said)
    return [{"citationsContent": {"content": said, **citations} if said else citations}]


def _thinking(block: Thinking) -> dict[str, Any]:
    if block.redacted:
        return {"reasoningContent": {"redactedContent": block.signature}}
    return {"reasoningContent": {"reasoningText": {"text": block.text, "signature": block.signature}}}
