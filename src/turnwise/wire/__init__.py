"""Wire codecs: one per provider API, pure. Requests become bytes, bytes become events.

`decoder` and `read_response` are the public way in; they load the codec of an API when it is first asked for.
"""

from __future__ import annotations

from .base import (
    APIS,
    Codec,
    Decoder,
    EncodedHead,
    HttpRequest,
    ReadResponse,
    codec,
    decoder,
    encode,
    read_response,
)

__all__ = [
    "APIS",
    "Codec",
    "Decoder",
    "EncodedHead",
    "HttpRequest",
    "ReadResponse",
    "codec",
    "decoder",
    "encode",
    "read_response",
]
