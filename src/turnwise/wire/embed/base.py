"""What embedding codecs have in common: the contract, batches within an API's bounds, and vectors out of JSON or base64.

A vector is an `array('f')`: 4 bytes a number where a list of floats takes 32, no precision lost (every API computes in 32 bits or
fewer), and numpy, databases and files take it as a buffer without a copy.
"""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

import msgspec

from ...core.errors import ErrorInfo, ProviderError, config_error, error_of
from ..base import HttpRequest
from ..errors import PROTOCOL, broken
from ..heads import unsupported
from ..unreadable import UNREADABLE

T = TypeVar("T")

InputType = Literal["query", "document", "similarity", "classification", "clustering"]
"""What a text is embedded for. Models that make no difference take any of these and embed all alike."""


class Wishes(msgspec.Struct, frozen=True):
    """What is asked for beside the texts."""

    model: str
    dimensions: int | None = None
    input_type: InputType | None = None


class Bounds(msgspec.Struct, frozen=True):
    """What one request may hold. `bytes` stands for a bound in tokens: no token is shorter than a byte, so a batch of no more
    bytes than the API takes tokens is never refused for its size. A single text may be longer: only its model can tell."""

    items: int
    bytes: int | None = None


class Embedded(NamedTuple):
    """One answer: a vector for each text of the request, in their order. `tokens` is None if the provider did not say."""

    vectors: list[array[float]]
    tokens: int | None = None
    model: str = ""


class EmbedCodec(Protocol):
    """One embedding API.

    `encode` raises `ConfigError` naming provider and feature for what the API or model cannot do. `decode` is given the body of a
    successful answer and the number of texts that were sent; it raises `ProviderError` for anything but that many
    vectors, and nothing else, whatever the bytes.
    """

    @property
    def label(self) -> str: ...
    @property
    def bounds(self) -> Bounds: ...
    def encode(self, texts: Sequence[str], wishes: Wishes) -> HttpRequest: ...
    def decode(self, body: bytes, headers: Mapping[str, str], count: int) -> Embedded: ...


class Batch(NamedTuple):
    """Texts `start` up to `end` (exclusive)."""

    start: int
    end: int


def batches(sizes: Sequence[int], bounds: Bounds) -> Iterator[Batch]:
    """Texts of these sizes in bytes, cut into as few consecutive batches within `bounds` as there can be. A text that is larger
    than the bound by itself is a batch of its own."""
    start, held = 0, 0
    for at, size in enumerate(sizes):
        full = at - start >= bounds.items or (bounds.bytes is not None and held + size > bounds.bytes)
        if at > start and full:
            yield Batch(start, at)
            start, held = at, 0
        held += size
    if start < len(sizes):
        yield Batch(start, len(sizes))


def check_texts(texts: Sequence[str], label: str, what: str = "Text") -> list[int]:
    """The size of each text in bytes. Raises `ConfigError` for what no API takes: `empty_text`, `invalid_text`."""
    sizes: list[int] = []
    for number, text in enumerate(texts):
        if not text:
            raise config_error(
                "empty_text", f"{what} {number} is empty, and {label} takes no empty text.", "Leave it out."
            )
        try:
            sizes.append(len(text) if text.isascii() else len(text.encode()))
        except UnicodeEncodeError as error:
            raise config_error("invalid_text", f"{what} {number} is not Unicode: {error}.") from None
    return sizes


def named_type(wishes: Wishes, names: Mapping[InputType, str], label: str) -> str | None:
    """The API's own word for the input type; None if none was asked for."""
    kind = wishes.input_type
    if kind is None:
        return None
    if kind not in names:
        raise unsupported(label, f"input_type={kind!r}", f"It knows {', '.join(map(repr, names))}.")
    return names[kind]


def vector_of(value: str | list[float]) -> array[float]:
    """A vector from a list of numbers, or from base64 of 32-bit floats in little-endian order. Raises `ValueError`."""
    if not isinstance(value, str):
        return array("f", value)
    out = array("f")
    out.frombytes(b64decode(value, validate=True))
    if sys.byteorder == "big":
        out.byteswap()
    return out


def read_json(body: bytes, kind: type[T]) -> T:
    """The answer as `kind`. Raises `ProviderError` (`protocol`) if it is none."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise protocol(f"The answer is not one of the API: {error}.") from None


def vectors_of(values: Sequence[str | list[float]], count: int) -> list[array[float]]:
    """The vectors of an answer to `count` texts. Raises `ProviderError` (`protocol`) for more, fewer, empty or unreadable ones."""
    if len(values) != count:
        raise protocol(f"{count} texts were sent and {len(values)} vectors came back.")
    try:
        vectors = [vector_of(v) for v in values]
    except (ValueError, OverflowError) as error:
        raise protocol(f"A vector cannot be read: {error}.") from None
    if not all(vectors):
        raise protocol("A vector is empty.")
    return vectors


def wrong_lengths(vectors: Sequence[array[float]], dimensions: int | None, label: str) -> ErrorInfo | None:
    """The error if not all vectors have the length that was asked for, or else the same one. Another try would not mend it."""
    wanted = dimensions or (len(vectors[0]) if vectors else 0)
    found = next((len(v) for v in vectors if len(v) != wanted), None)
    if found is None:
        return None
    if dimensions is None:
        message = f"{label} answered with vectors of {wanted} and of {found} dimensions."
        hint = "They cannot be compared: the host seems to serve several models by one name."
    else:
        message = f"{label} was asked for {dimensions} dimensions and answered with {found}."
        hint = "This model or host cannot shorten its vectors: leave `dimensions` out."
    return ErrorInfo("provider", "wrong_dimensions", message, hint)


def protocol(message: str) -> ProviderError:
    """The error for an answer that is not what the API promises."""
    error = error_of(broken(PROTOCOL, message))
    assert isinstance(error, ProviderError)
    return error
