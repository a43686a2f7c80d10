"""What reading a response costs, relative to bare typed `msgspec` decoding of the same payloads in the same run.

    python benchmarks/decoding.py [RECORDS_FOLDER] [--api PREFIX] [--rounds N]

Each whole recorded stream is fed in one read to the codec's decoder and its events to the reducer: framing, decoding, events
and message. The base line decodes the same payloads, already cut out of the stream, each with one call of a `msgspec.json.Decoder` into the
type that event_types.py has for the API; streams with an event that this type cannot read are left out. Where the wire demands checksums
(AWS event streams), cutting into messages and checking both of each is part of any reading, and so of the base line.

Rounds of both alternate; the figure of a stream is the ratio of the least times, that of an API the sum over its streams.
RECORDS_FOLDER holds `*.jsonl.gz` of recorded exchanges (`api`, `status`, `streaming`, `response_body` …); without it streams of 400
deltas and two calls are made by the serving codecs.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import pathlib
import struct
import time
from binascii import crc32
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
from event_types import EVENT_TYPES

from turnwise.core.reducer import Reducer
from turnwise.testing import call, reply, text, think
from turnwise.wire import Codec, codec
from turnwise.wire.serve import Exchange, Response, serve_codec


def records(folder: str) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Recorded streams that came to their end: API, headers, body."""
    for path in sorted(pathlib.Path(folder).glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                record = json.loads(line)
                if not record["streaming"] or record["status"] != 200 or record["expected"].get("error"):
                    continue
                raw = record["response_body"]
                body = base64.b64decode(raw) if record["response_body_encoding"] == "base64" else raw.encode()
                headers = {k.lower(): v for k, v in record["response_headers"].items()}
                headers.setdefault("content-type", record["response_content_type"] or "text/event-stream")
                yield record["api"], headers, body


def made(api: str) -> tuple[str, dict[str, str], bytes]:
    """A stream as the serving codec of an API writes it."""
    served = serve_codec(api.replace("streamGenerateContent", "generateContent").replace("-stream", ""))
    fragments = [f"word{n} " for n in range(400)]
    parts = (think("Let me ", "see. ", "So."), text(*fragments), call("look", what="a"), call("look", what="b"))
    response = reply(*parts).answer
    assert isinstance(response, Response)
    body = b"".join(served.stream(response, Exchange(1, "a-model", 1_750_000_000, 400, True, "alt=sse")))
    return api, {"content-type": served.stream_type}, body


def payloads_of(api: str, body: bytes) -> list[bytes]:
    """The JSON payloads of a stream's events."""
    if api == "ollama.chat":
        return [line for line in body.split(b"\n") if line.strip()]
    if body.lstrip()[:1] == b"[":
        return [bytes(one) for one in msgspec.json.decode(body, type=list[msgspec.Raw])]
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    return [p for line in lines if line.startswith(b"data:") and (p := line[5:].strip()) and p != b"[DONE]"]


def decode_all(decode: Callable[[bytes], Any], payloads: list[bytes]) -> int:
    for payload in payloads:
        decode(payload)
    return len(payloads)


def decode_messages(decode: Callable[[bytes], Any], body: bytes) -> int:
    """The same for the messages of an AWS event stream: both checksums of each, and its payload; its headers are passed over."""
    at = count = 0
    while at < len(body):
        size, header_bytes, crc = _PRELUDE.unpack_from(body, at)
        stop = at + size
        if crc32(body[at : at + 8]) != crc or crc32(body[at : stop - 4]) != _CRC.unpack_from(body, stop - 4)[0]:
            raise ValueError("a wrong checksum")
        decode(body[at + 12 + header_bytes : stop - 4])
        at, count = stop, count + 1
    return count


_PRELUDE, _CRC = struct.Struct(">III"), struct.Struct(">I")


def base_line(api: str, body: bytes) -> Callable[[], int]:
    """Bare decoding of a stream; returns how many events it has."""
    decode = msgspec.json.Decoder(EVENT_TYPES[api]).decode
    if api.startswith("bedrock"):
        return partial(decode_messages, decode, body)
    return partial(decode_all, decode, payloads_of(api, body))


def read(codec: Codec, headers: dict[str, str], body: bytes) -> None:
    reading, reducer = codec.decoder(200, headers), Reducer()
    reducer.feed(reading.feed(body))
    reducer.feed(reading.finish())
    reducer.finish()


def least(function: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """The least time of each, in seconds, alternating."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for at, run in enumerate((function, other)):
            begun = time.perf_counter()
            run()
            best[at] = min(best[at], time.perf_counter() - begun)
    return best[0], best[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--api", default="")
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    streams = (
        list(records(given.folder)) if given.folder else [made(api) for api in EVENT_TYPES if api.startswith(given.api)]
    )
    print(
        f"{'api':32} {'streams':>10} {'events':>7} {'ratio':>6}  of single streams: median, worst with 20 events or more"
    )
    for api in EVENT_TYPES:
        if not api.startswith(given.api):
            continue
        ours = base = 0.0
        events, ratios, worst = 0, list[float](), 0.0
        of_api = [s for s in streams if s[0] == api]
        for _, headers, body in of_api:
            bare = base_line(api, body)
            try:
                count = bare()
            except msgspec.MsgspecError:
                continue  # an event of a kind that the base line's type does not have
            a, b = least(partial(read, codec(api), headers, body), bare, given.rounds)
            ours, base, events = ours + a, base + b, events + count
            ratios.append(a / b)
            if count >= 20:
                worst = max(worst, a / b)
        if ratios:
            median = sorted(ratios)[len(ratios) // 2]
            print(
                f"{api:32} {len(ratios):4} of {len(of_api):3} {events:7} {ours / base:6.2f}  {median:.2f}, {worst:.2f}"
            )


if __name__ == "__main__":
    main()
