"""What the tests of the scripted provider share: every API as a plain HTTP client speaks it, without any of our own client code."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
import msgspec
import pytest

from turnwise.testing import ScriptedProvider

GOOGLE = "/models/{model}:generateContent"
CONVERSE = "/model/{model}/converse"
VERTEX = "/v1/projects/scripted/locations/global/publishers/google"


class Form(msgspec.Struct, frozen=True):
    """How one API is asked, and how its answers end and its errors are worded.

    `path` and `stream_path` may hold the model's name; where they differ, they say what bodies of other APIs say. `text` is an array
    of messages with one of the user's. `call` is a message with an unanswered call of the id `c_1`. `end` is found in
    whole streams only; `why`, the stop reason, where it comes before the end. `words` are the API's own for 400, 401, 404 and 429.
    `copies`: how often a stream says a text, its deltas and what repeats them.
    """

    path: str
    text: Any
    call: Any
    end: bytes
    words: dict[int, str]
    why: bytes | None = None
    stream_path: str = ""
    field: str = "messages"
    headers: dict[str, str] = {}
    more: dict[str, Any] = {}
    copies: int = 1


SAID = [{"role": "user", "content": "Hi"}]
FUNCTION = {"name": "weather", "arguments": "{}"}
CHATS_CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c_1", "type": "function", "function": FUNCTION}],
}
BEARER = {"authorization": "Bearer {key}"}
OPENAI_WORDS = {
    400: "invalid_request_error",
    401: "invalid_api_key",
    404: "model_not_found",
    429: "rate_limit_exceeded",
}
GOOGLES = Form(
    f"/v1beta{GOOGLE}",
    [{"role": "user", "parts": [{"text": "Hi"}]}],
    {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]},
    b'"finishReason":"STOP"',
    {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"},
    stream_path=f"/v1beta{GOOGLE}".replace(":g", ":streamG") + "?alt=sse",
    field="contents",
    headers={"x-goog-api-key": "{key}"},
)
FORMS = {
    "openai.chat": Form(
        "/v1/chat/completions",
        SAID,
        CHATS_CALL,
        b"data: \\[DONE\\]\n\n$",
        OPENAI_WORDS,
        why=b'"finish_reason":"stop"',
        headers=BEARER,
    ),
    "openai.responses": Form(
        "/v1/responses",
        SAID,
        {"type": "function_call", "call_id": "c_1", **FUNCTION},
        b'"type":"response.completed"',
        OPENAI_WORDS,
        field="input",
        headers=BEARER,
        copies=5,
    ),
    "anthropic.messages": Form(
        "/v1/messages",
        SAID,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c_1", "name": "weather", "input": {}}]},
        b'data: {"type":"message_stop"}\n\n$',
        {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"},
        why=b"stop_reason",
        headers={"x-api-key": "{key}", "anthropic-version": "2023-06-01"},
        more={"max_tokens": 100},
    ),
    "cohere.v2.chat": Form(
        "/v2/chat",
        SAID,
        CHATS_CALL | {"content": "Let me see."},
        b"data: \\[DONE\\]\n\n$",
        {400: "c_1", 401: "invalid api token", 404: "missing-model", 429: "You are past the per minute request limit"},
        why=b'"finish_reason":"COMPLETE"',
        headers=BEARER,
    ),
    "ollama.chat": Form(
        "/api/chat",
        SAID,
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c_1", "function": {"name": "weather"}}]},
        b'"done":true[^\n]*\n$',
        {400: "", 404: "missing-model", 429: "too many requests"},
    ),
    "bedrock.converse": Form(
        CONVERSE,
        [{"role": "user", "content": [{"text": "Hi"}]}],
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c_1", "name": "weather", "input": {}}}]},
        b"messageStop",
        {
            400: "ValidationException",
            401: "UnrecognizedClientException",
            404: "ResourceNotFoundException",
            429: "ThrottlingException",
        },
        stream_path=CONVERSE + "-stream",
        headers=BEARER,
    ),
    "gemini.generateContent": GOOGLES,
    "vertex.generateContent": msgspec.structs.replace(
        GOOGLES,
        path=VERTEX + GOOGLE,
        stream_path=VERTEX + GOOGLES.stream_path.removeprefix("/v1beta"),
        headers=BEARER,
    ),
}


class Asker(msgspec.Struct, frozen=True):
    """Speaks one API."""

    api: str

    @property
    def form(self) -> Form:
        return FORMS[self.api]

    def path(self, *, stream: bool = False, model: str = "a-model") -> str:
        return (self.form.stream_path if stream and self.form.stream_path else self.form.path).format(model=model)

    def headers(self, key: str = "test") -> dict[str, str]:
        made = {name: value.format(key=key) for name, value in self.form.headers.items()}
        return {**made, "content-type": "application/json"}

    def body(self, *, stream: bool = False, model: str = "a-model", **more: Any) -> dict[str, Any]:
        form = self.form
        told = {} if form.stream_path else {"model": model, "stream": stream}
        return {**told, form.field: form.text, **form.more, **more}

    def unanswered(self) -> dict[str, Any]:
        """A body that every API refuses: a call that has no result."""
        form = self.form
        return self.body(**{form.field: [*form.text, form.call, *form.text]})

    async def ask(
        self,
        provider: ScriptedProvider,
        body: dict[str, Any] | None = None,
        *,
        stream: bool = False,
        model: str = "a-model",
        key: str = "test",
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on its own connection: status, headers (lower-case), body."""
        url = provider.url + self.path(stream=stream, model=model)
        body = self.body(stream=stream, model=model) if body is None else body
        async with (
            aiohttp.ClientSession() as client,
            client.post(url, json=body, headers=self.headers(key)) as response,
        ):
            return response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read()

    def ends(self, stream: bytes) -> bool:
        """Whether a stream has the end that its API gives it."""
        return re.search(self.form.end, stream) is not None

    def word(self, headers: dict[str, str], body: bytes) -> str:
        """What an error is called by its API; its message, where it has no name."""
        if kind := headers.get("x-amzn-errortype"):
            return kind.partition(":")[0]
        said = json.loads(body)
        error = said.get("error", said)
        if isinstance(error, str):
            return error
        return error.get("status") or error.get("code") or error.get("type") or error["message"]

    @staticmethod
    def message(body: bytes) -> str:
        """What an error says."""
        said = json.loads(body)
        error = said.get("error", said)
        return error if isinstance(error, str) else error["message"]

    @staticmethod
    def chunks(encoded: bytes) -> list[bytes]:
        """The HTTP chunks of a body."""
        chunks: list[bytes] = []
        while True:
            size, _, encoded = encoded.partition(b"\r\n")
            if not int(size, 16):
                return chunks
            chunks.append(encoded[: int(size, 16)])
            encoded = encoded[int(size, 16) + 2 :]

    def raw(self, *, stream: bool = True) -> bytes:
        """A request as its bytes."""
        body = json.dumps(self.body(stream=stream)).encode()
        head = "".join([f"{k}: {v}\r\n" for k, v in {**self.headers(), "content-length": len(body)}.items()])
        return f"POST {self.path(stream=stream)} HTTP/1.1\r\nhost: test\r\n{head}\r\n".encode() + body

    async def connect(
        self, provider: ScriptedProvider, *, stream: bool = True
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The request written to a raw socket; its response is for the test to read."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(provider.url.rpartition(":")[2]))
        writer.write(self.raw(stream=stream))
        await writer.drain()
        return reader, writer


@pytest.fixture(params=FORMS)
def asker(request: pytest.FixtureRequest) -> Asker:
    return Asker(request.param)
