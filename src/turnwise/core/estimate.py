"""Tokens from bytes: how large a request is for its model before the model has said so (rule X1).

A provider's tokeniser is not at hand, but bytes per token vary little within a conversation. So the estimate begins with an average for
the API and is corrected by every usage that the provider reports. Media do not count by their bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import msgspec

from .content import Audio, BlobRef, Block, Document, Image, Inline, Source, Text, Thinking, ToolCall
from .messages import Message, ToolMessage
from .usage import Usage

TOKENS_PER_BYTE = {
    "anthropic.messages": 0.29,
    "bedrock.converse": 0.29,
    "openai.chat": 0.25,
    "openai.responses": 0.25,
    "gemini.generateContent": 0.25,
    "vertex.generateContent": 0.25,
    "cohere.v2.chat": 0.25,
    "ollama.chat": 0.27,
}
"""Averages over requests in English with code and JSON, escapes and keys included; a first guess, soon corrected."""
USUAL = 0.27
"""For any other API."""
LEAST, MOST = 0.05, 1.0
"""A request of fewer or more tokens per byte does not exist; a provider that reports one counts something else."""
MIN_BYTES = 256
"""Shorter requests say nothing about longer ones: what the provider adds of its own weighs more."""
SMOOTHING = 0.5
"""The weight of the latest report among all."""

IMAGE_TOKENS = 1600
"""A picture of a megapixel or more, as most APIs count one."""
DOCUMENT_BYTES_PER_TOKEN = 20
"""A PDF of text: some 40 kB and 2,000 tokens a page."""
AUDIO_BYTES_PER_TOKEN = 500
"""Compressed sound: some 16 kB and 32 tokens a second."""

MESSAGE_BYTES, CALL_BYTES, RESULT_BYTES = 40, 90, 90
"""What the form takes around a message, a call and a result."""


class Calibration(msgspec.Struct, frozen=True, gc=False):
    """Tokens per byte of one model's requests, as far as they are known. `seen` counts the reports behind it."""

    tokens_per_byte: float
    seen: int = 0

    def tokens(self, weight: Weight) -> int:
        """The estimate, rounded up."""
        return ceil(weight.text_bytes * self.tokens_per_byte) + weight.media_tokens


class Weight(msgspec.Struct, frozen=True, gc=False):
    """What counts of a message or request: the bytes of its text, and the tokens of its media. `media_bytes` are what the media take
    in an encoded request, in base64."""

    text_bytes: int = 0
    media_tokens: int = 0
    media_bytes: int = 0

    def __add__(self, other: Weight) -> Weight:
        return Weight(
            self.text_bytes + other.text_bytes,
            self.media_tokens + other.media_tokens,
            self.media_bytes + other.media_bytes,
        )


NOTHING = Weight()


def first_guess(api: str) -> Calibration:
    """Before the provider has reported anything. `api` is a name of `turnwise.wire`."""
    return Calibration(TOKENS_PER_BYTE.get(api, USUAL))


def corrected(known: Calibration, request: Weight, usage: Usage | None) -> Calibration:
    """Corrected by what the provider says a request came to. The first report replaces the guess; later ones are averaged in, so that a
    single odd one moves the estimate by half at most."""
    if usage is None or usage.input_tokens is None or usage.provenance != "reported" or request.text_bytes < MIN_BYTES:
        return known
    text_tokens = max(usage.input_tokens - request.media_tokens, usage.input_tokens // 4)
    found = min(max(text_tokens / request.text_bytes, LEAST), MOST)
    if known.seen:
        found = known.tokens_per_byte + SMOOTHING * (found - known.tokens_per_byte)
    return Calibration(found, known.seen + 1)


def request_weight(body_bytes: int, media: Weight) -> Weight:
    """The weight of a request whose encoded body is so long and whose messages' media weigh so much together."""
    return Weight(max(0, body_bytes - media.media_bytes), media.media_tokens, media.media_bytes)


def weigh(message: Message) -> Weight:
    """What a message adds to a request, roughly: its text as JSON and its form, without encoding it."""
    if isinstance(message, ToolMessage):
        total = NOTHING
        for result in message.results:
            total += Weight(RESULT_BYTES) + _body(result.body)
        return total
    return Weight(MESSAGE_BYTES) + _body(message.body)


def media_weight(message: Message) -> Weight:
    """The media of a message alone."""
    bodies = [r.body for r in message.results] if isinstance(message, ToolMessage) else [message.body]
    total = NOTHING
    for body in bodies:
        for block in () if isinstance(body, str) else body:
            if isinstance(block, Image | Audio | Document):
                total += _media(block)
    return total


def json_bytes(text: str) -> int:
    """Bytes of a text inside a JSON string, control characters but newlines aside."""
    written = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return written + text.count("\n") + text.count('"') + text.count("\\")


def _body(body: str | Iterable[Block]) -> Weight:
    if isinstance(body, str):
        return Weight(json_bytes(body))
    total = NOTHING
    for block in body:
        total += _block(block)
    return total


def _block(block: Block) -> Weight:
    if isinstance(block, Text):
        return Weight(json_bytes(block.text) + _native(block))
    if isinstance(block, Thinking):
        return Weight(json_bytes(block.text) + len(block.signature or "") + _native(block))
    if isinstance(block, ToolCall):
        return Weight(CALL_BYTES + json_bytes(block.name) + json_bytes(block.arguments) + _native(block))
    if isinstance(block, Image | Audio | Document):
        return _media(block)
    return Weight(len(block.native.data))


def _native(block: Text | Thinking | ToolCall) -> int:
    return 0 if block.native is None else len(block.native.data)


def _media(block: Image | Audio | Document) -> Weight:
    """Documents of text are sent as text."""
    size = _size(block.source)
    if isinstance(block, Document) and size is not None and _is_text(block.source):
        return Weight(size)
    sent = 0 if size is None else (size + 2) // 3 * 4
    if isinstance(block, Image):
        return Weight(0, IMAGE_TOKENS, sent)
    per = DOCUMENT_BYTES_PER_TOKEN if isinstance(block, Document) else AUDIO_BYTES_PER_TOKEN
    return Weight(0, IMAGE_TOKENS if size is None else size // per + 1, sent)


def _is_text(source: Source) -> bool:
    return (source.media_type or "").startswith("text/")


def _size(source: Source) -> int | None:
    """Bytes that are sent with the request; None if the provider fetches them."""
    if isinstance(source, BlobRef):
        return source.size
    return len(source.data) if isinstance(source, Inline) else None
