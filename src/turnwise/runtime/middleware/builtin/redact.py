"""`redact()`: what must not leave is masked in what is sent. Only there: the journal keeps what was said (rule P6).

Values are masked, by patterns and by what is known to be secret; never a word because of its name alone: `author` and `max_tokens`
survive, and so does a `token` that counts something. Masked are instructions, reminders, what users said, results of tools, and the
model's own words and arguments; not its sealed reasoning, which only its provider can read, nor pictures and documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from ....core.content import Text, ToolCall
from ....core.errors import config_error
from ....core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ..requests import EmbedRequest, ModelRequest
from ..response import ModelResponse

if TYPE_CHECKING:
    from ...runtime import Runtime

MASK = "[redacted]"
_ENVIRONMENT = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)$")
_LEAST_SECRET = 8
"""Shorter values of the environment are not taken for secrets: they would mask half of what is said."""

PATTERNS: dict[str, str] = {
    "keys": r"\b(?:sk|pk|rk)-(?:[A-Za-z]+-)*[A-Za-z0-9_-]{16,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}"
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|\bAIza[0-9A-Za-z_-]{35}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----",
    "bearer": r"(?i:(?<=\bbearer )|(?<=\bbasic ))[A-Za-z0-9+/._~-]{12,}=*",
    "named": r"(?i:(?<![A-Za-z0-9])(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret"
    r"|private[_-]?key)[\"']?\s*[:=]\s*[\"']?)(?P<value>[^\s\"',;}{\])]{4,})",
    "email": r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b",
    "card": r"\b(?:\d[ -]?){12,18}\d\b",
    "iban": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
}
"""Patterns by name. A group `value` says which part of a match is masked; without one it is all of it."""
SECRETS = ("keys", "bearer", "named")


class Redact:
    """See `redact`. `masked` counts values."""

    name = "redact"

    def __init__(
        self, patterns: Iterable[str | re.Pattern[str]], secrets: Iterable[str], from_environment: bool, mask: str
    ) -> None:
        self._patterns = [_pattern(one) for one in patterns]
        self._secrets = tuple(secrets)
        self._environment = from_environment
        self._mask = mask
        self._known: tuple[Any, Callable[[str], str]] | None = None
        self.masked = 0

    async def model(self, request: ModelRequest, next: Any) -> ModelResponse:
        masked = self._masker(request.runtime)
        messages = _messages(request.messages, masked)
        return await next(
            request.replace(
                messages=None if messages is request.messages else messages,
                instructions=masked(request.instructions),
                tail=masked(request.tail),
            )
        )

    async def embed(self, request: EmbedRequest, next: Any) -> Any:
        masked = self._masker(request.runtime)
        query = None if request.query is None else masked(request.query)
        return await next(request.replace(texts=[masked(text) for text in request.texts], query=query))

    def __call__(self, text: str) -> str:
        """A text as it would be sent, with what is known by patterns and `secrets`; for tests and logs."""
        return self._mask_in(text, self._secrets)

    def _masker(self, runtime: Runtime) -> Callable[[str], str]:
        """What masks a text. Texts of a conversation come again with each request, so it remembers."""
        known = self._known
        if known is None or known[0] is not runtime:
            secrets = (*self._secrets, *(_of_environment(runtime) if self._environment else ()))
            secrets = tuple(sorted({s for s in secrets if s}, key=len, reverse=True))

            def masked(text: str) -> str:
                return self._mask_in(text, secrets)

            known = self._known = runtime, lru_cache(maxsize=4096)(masked)
        return known[1]

    def _mask_in(self, text: str, secrets: Sequence[str]) -> str:
        for secret in secrets:
            if secret in text:
                self.masked += text.count(secret)
                text = text.replace(secret, self._mask)
        for pattern in self._patterns:
            text = pattern.sub(self._masked, text)
        return text

    def _masked(self, match: re.Match[str]) -> str:
        whole = match.group()
        if match.re.pattern == PATTERNS["card"] and not _is_card(whole):
            return whole
        value = match.groupdict().get("value")
        if value == self._mask or whole == self._mask:
            return whole
        self.masked += 1
        return self._mask if value is None else whole[: -len(value)] + self._mask


def _pattern(given: str | re.Pattern[str]) -> re.Pattern[str]:
    if isinstance(given, re.Pattern):
        return given
    if given in PATTERNS:
        return re.compile(PATTERNS[given])
    if given.isidentifier():
        raise config_error(
            "invalid_value", f"redact(patterns=…): there is no pattern {given!r}.", f"There are {', '.join(PATTERNS)}."
        )
    try:
        return re.compile(given)
    except re.error as error:
        raise config_error("invalid_value", f"redact(patterns=…): {given!r} is no pattern: {error}.") from None


def _of_environment(runtime: Runtime) -> list[str]:
    """What Turnwise and its neighbours read as credentials."""
    return [
        value for name, value in runtime.environ.items() if _ENVIRONMENT.search(name) and len(value) >= _LEAST_SECRET
    ]


def _is_card(digits: str) -> bool:
    """Whether the check digit is right (Luhn)."""
    numbers = [int(d) for d in digits if d.isdigit()][::-1]
    doubled = [sum(divmod(2 * d, 10)) for d in numbers[1::2]]
    return (sum(numbers[::2]) + sum(doubled)) % 10 == 0


# --- messages ---------------------------------------------------------------------------------------------------------


def _messages(messages: Sequence[Message], masked: Callable[[str], str]) -> Sequence[Message]:
    """The messages masked; the very same if there was nothing to mask."""
    out = [_message(message, masked) for message in messages]
    return messages if all(one is other for one, other in zip(out, messages, strict=True)) else tuple(out)


def _message(message: Message, masked: Callable[[str], str]) -> Message:
    if isinstance(message, ToolMessage):
        results = [_with_body(result, masked) for result in message.results]
        if all(one is other for one, other in zip(results, message.results, strict=True)):
            return message
        return msgspec.structs.replace(message, results=tuple(results))
    assert isinstance(message, UserMessage | AssistantMessage)
    return _with_body(message, masked)


def _with_body(given: Any, masked: Callable[[str], str]) -> Any:
    body = given.body
    if isinstance(body, str):
        text = masked(body)
        return given if text == body else msgspec.structs.replace(given, body=text)
    blocks = [_block(block, masked) for block in body]
    if all(one is other for one, other in zip(blocks, body, strict=True)):
        return given
    return msgspec.structs.replace(given, body=tuple(blocks))


def _block(block: Any, masked: Callable[[str], str]) -> Any:
    """A block masked. What its provider gave with it belongs to the words that are there no more, and goes."""
    if type(block) is Text:
        text = masked(block.text)
        return block if text == block.text else msgspec.structs.replace(block, text=text, native=None)
    if type(block) is ToolCall:
        arguments = _arguments(block.arguments, masked)
        return (
            block if arguments == block.arguments else msgspec.structs.replace(block, arguments=arguments, native=None)
        )
    return block


def _arguments(raw: str, masked: Callable[[str], str]) -> str:
    """Raw JSON stays JSON: its strings are masked one by one. What is none is masked as it is."""
    if masked(raw) == raw:
        return raw
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return masked(raw)
    changed = _value(value, masked)
    return raw if changed == value else msgspec.json.encode(changed).decode()


def _value(value: Any, masked: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, list):
        return [_value(one, masked) for one in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {name: _named(name, one, masked) for name, one in value.items()}  # pyright: ignore
    return value


def _named(name: str, value: Any, masked: Callable[[str], str]) -> Any:
    """A value under its name: `{"password": "hunter2"}` is masked as `password: hunter2` would be."""
    if not isinstance(value, str):
        return _value(value, masked)
    before = f"{name}: "
    whole = masked(before + value)
    return whole.removeprefix(before) if whole.startswith(before) else masked(value)


def redact(
    *patterns: str | re.Pattern[str], secrets: Iterable[str] = (), from_environment: bool = True, mask: str = MASK
) -> Redact:
    """Mask values in what is sent: those that match `patterns`, those of `secrets`, and those of environment variables that are named like
    credentials (`…_KEY`, `…_TOKEN`, `…_SECRET`, `…_PASSWORD`).

    `patterns` are names (`keys`, `bearer`, `named`, `email`, `card`, `iban`) or regular expressions; none means the first three, which are
    about credentials. A group `value` in an expression says which part is masked. The same text is masked alike each time, so the provider's
    prompt cache still holds.
    """
    return Redact(patterns or SECRETS, secrets, from_environment, mask)
