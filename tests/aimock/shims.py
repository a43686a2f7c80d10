"""What aimock 1.43.0 gets wrong, put right between it and our transport: one class per API, each fault with what is right.

Bytes go over real HTTP to aimock and come from there; a shim changes JSON in them and nothing else. Broken connections, statuses and bodies
that are no JSON pass as they are. Nothing of `turnwise.wire` is used here, so that it cannot agree with itself.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from turnwise.core.protocols import Response

Event = dict[str, Any]
SEAL = "c2VhbGVkIGJ5IGEgc2hpbQ=="
"""A signature in base64, where aimock has none to give."""
ANSWERS_FIRST = ("They ask for Oslo", "It rains there.")
"""How the reasoning in fixtures.json begins."""


class Shim:
    """One request and its answer. Nothing is changed here: subclasses say what."""

    between = b"\n\n"
    """What ends a piece of a stream."""
    prefix = b"data: "

    def asked(self, body: Event) -> None:
        """Change the request on its way to aimock."""

    def whole(self, body: Event) -> None:
        """Change an answer in one document."""

    def refused(self, status: int, body: Event) -> Event:
        """The error body that the provider would have sent."""
        return body

    def headers(self, status: int) -> Mapping[str, str]:
        """What the provider's answer has besides aimock's headers."""
        return {}

    def pieces(self, event: Event) -> Iterable[Event]:
        """What the provider would have sent in place of a piece of a stream."""
        return (event,)

    # --- bytes ----------------------------------------------------------------------------------------------------------

    def cut(self, held: bytearray) -> bytes:
        """Takes the first whole piece; empty if there is none yet."""
        end = held.find(self.between)
        if end < 0:
            return b""
        piece = bytes(held[: end + len(self.between)])
        del held[: len(piece)]
        return piece

    def corrected(self, piece: bytes) -> bytes:
        """One whole piece of a stream, put right."""
        start = piece.find(self.prefix)
        if start < 0 or not piece[start + len(self.prefix) :].startswith(b"{"):
            return piece
        event = json.loads(piece[start + len(self.prefix) :])
        before = piece[: start + len(self.prefix)]
        return b"".join([before + json.dumps(made).encode() + self.between for made in self.pieces(event)])


class MistralShim(Shim):
    """Mistral tells the usage of every stream in its last chunk, and refuses `stream_options`. aimock tells it only if asked."""

    def asked(self, body: Event) -> None:
        if body.get("stream"):
            body["stream_options"] = {"include_usage": True}


class GeminiShim(Shim):
    """Calls end with `STOP`: there is no `FUNCTION_CALL` among Gemini's finish reasons
    (https://ai.google.dev/api/generate-content#FinishReason). The first call after a thought carries a `thoughtSignature`
    (https://ai.google.dev/gemini-api/docs/thought-signatures), which aimock knows nothing of."""

    def __init__(self) -> None:
        self._thought = False

    def whole(self, body: Event) -> None:
        for candidate in body.get("candidates", ()):
            if candidate.get("finishReason") == "FUNCTION_CALL":
                candidate["finishReason"] = "STOP"
            for part in candidate["content"]["parts"]:
                if part.get("thought"):
                    self._thought = True
                elif self._thought and "functionCall" in part:
                    part["thoughtSignature"], self._thought = SEAL, False

    def pieces(self, event: Event) -> Iterable[Event]:
        self.whole(event)
        return (event,)


class CohereShim(Shim):
    """Reasoning is content of the type `thinking` (https://docs.cohere.com/docs/reasoning), where aimock sends it as the first
    text. Errors are `{"message": "…"}` (https://docs.cohere.com/reference/errors)."""

    def __init__(self) -> None:
        self._begun: Event | None = None
        self._thinking: int | None = None

    def whole(self, body: Event) -> None:
        for n, part in enumerate(body["message"]["content"]):
            if part["text"].startswith(ANSWERS_FIRST):
                body["message"]["content"][n] = {"type": "thinking", "thinking": part["text"]}

    def refused(self, status: int, body: Event) -> Event:
        return {"message": body["error"]["message"]}

    def pieces(self, event: Event) -> Iterable[Event]:
        kind, index = event["type"], event.get("index")
        if kind == "content-start":  # which kind of content it begins is known with its first words
            self._begun = event
            return ()
        if kind != "content-delta":
            return (event,)
        begun, self._begun = self._begun, None
        text = event["delta"]["message"]["content"]["text"]
        if begun is not None and any(first.startswith(text) or text.startswith(first) for first in ANSWERS_FIRST):
            self._thinking = index
            begun["delta"]["message"]["content"] = {"type": "thinking", "thinking": ""}
        if index == self._thinking:
            event["delta"]["message"]["content"] = {"thinking": text}
        return (event,) if begun is None else (begun, event)


class OllamaShim(Shim):
    """Reasoning is the message's `thinking`, where aimock says `reasoning_content`; errors are `{"error": "…"}`
    (https://docs.ollama.com/api/chat, https://docs.ollama.com/api/errors)."""

    between, prefix = b"\n", b""

    def whole(self, body: Event) -> None:
        message = body.get("message", {})
        if "reasoning_content" in message:
            message["thinking"] = message.pop("reasoning_content")

    def refused(self, status: int, body: Event) -> Event:
        return {"error": body["error"]["message"]}

    def pieces(self, event: Event) -> Iterable[Event]:
        self.whole(event)
        return (event,)


class BedrockShim(Shim):
    """aimock's Converse knows no `cachePoint` among the tools and answers it with 500; it begins text and reasoning with a
    `contentBlockStart`, which Converse sends for tool use alone; it gives reasoning no signature; its errors are not those of AWS, which are
    `{"message": "…"}` with their name in `x-amzn-errortype`.
    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html"""

    def __init__(self) -> None:
        self._thinking: int | None = None

    def asked(self, body: Event) -> None:
        if "toolConfig" in body:
            body["toolConfig"]["tools"] = [tool for tool in body["toolConfig"]["tools"] if "toolSpec" in tool]

    def whole(self, body: Event) -> None:
        for block in body["output"]["message"]["content"]:
            if "reasoningContent" in block:
                block["reasoningContent"]["reasoningText"]["signature"] = SEAL

    def refused(self, status: int, body: Event) -> Event:
        return {"message": body["error"]["message"]}

    def headers(self, status: int) -> Mapping[str, str]:
        name = {429: "ThrottlingException", 503: "ServiceUnavailableException"}.get(status)
        return {"x-amzn-errortype": name} if name else {}

    def cut(self, held: bytearray) -> bytes:
        length = int.from_bytes(held[:4]) if len(held) >= 4 else 0
        if not length or len(held) < length:
            return b""
        piece = bytes(held[:length])
        del held[:length]
        return piece

    def corrected(self, piece: bytes) -> bytes:
        headers_end = 12 + int.from_bytes(piece[4:8])
        event, written = json.loads(piece[headers_end:-4]), piece[12:headers_end]
        if b"contentBlockStart" in written and "toolUse" not in event["start"]:
            return b""
        if b"contentBlockDelta" in written and "reasoningContent" in event["delta"]:
            self._thinking = event["contentBlockIndex"]
        if b"contentBlockStop" in written and event["contentBlockIndex"] == self._thinking:
            delta = {"contentBlockIndex": self._thinking, "delta": {"reasoningContent": {"signature": SEAL}}}
            return _frame("contentBlockDelta", delta) + piece
        return piece


def _frame(kind: str, payload: Event) -> bytes:
    """A message of an AWS event stream: lengths, their CRC, headers, payload, the CRC of it all."""
    named = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        [struct.pack(f">B{len(n)}sBH", len(n), n.encode(), 7, len(v)) + v.encode() for n, v in named.items()]
    )
    body = json.dumps(payload).encode()
    lengths = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))


class Corrected:
    """The response of aimock as a shim passes it on."""

    ended = False

    def __init__(self, response: Response, shim: Shim) -> None:
        self._response = response
        self._shim = shim
        self._held = bytearray()
        self._streamed = self._over = False
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.abort: Callable[[str], None] = response.abort
        self.close: Callable[[], None] = response.close

    async def head(self) -> None:
        await self._response.head()
        self.status = self._response.status
        theirs = {
            name.lower(): value for name, value in self._response.headers.items() if name.lower() != "content-length"
        }
        self.headers = {**theirs, **self._shim.headers(self.status)}
        self._streamed = not theirs["content-type"].startswith("application/json")

    async def read(self) -> bytes:
        while not self._over:
            data = await self._response.read()
            self._held += data
            self._over = not data
            if made := self._stream() if self._streamed else self._document() if self._over else b"":
                return made
        return b""

    def _stream(self) -> bytes:
        made = bytearray()
        while piece := self._shim.cut(self._held):
            made += self._shim.corrected(piece)
        if self._over:
            made += self._held
        return bytes(made)

    def _document(self) -> bytes:
        try:
            body = json.loads(self._held)
        except ValueError:
            return bytes(self._held)
        if self.status != 200:
            body = self._shim.refused(self.status, body)
        else:
            self._shim.whole(body)
        return json.dumps(body).encode()
