"""What reading a response costs, relative to bare typed `msgspec` decoding of the same payloads in the same run.

    python benchmarks/decoding.py [RECORDS_FOLDER] [--api PREFIX] [--rounds N]

Each whole recorded stream is fed in one read to the codec's decoder and its events to the reducer: framing, decoding, events
and message. The base line decodes the same payloads, already cut out of the stream, with one `msgspec.json.Decoder` into the
codec's own type for an event. Rounds of both alternate; the figure of a stream is the ratio of the least times, that of an API
the sum over its streams. RECORDS_FOLDER holds `*.jsonl.gz` of recorded exchanges (`api`, `status`, `streaming`, `response_body` …);
without it streams of 400 deltas and two calls are made by the serving codecs.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import msgspec

from turnwise.core.reducer import Reducer
from turnwise.testing import call, reply, text, think
from turnwise.wire import decoder
from turnwise.wire.serve import Exchange, Response, serve_codec

EVENT_TYPES: dict[str, tuple[str, str]] = {
    "anthropic.messages": ("anthropic_events", "StreamEvent"),
    "openai.chat": ("openai_chat_shapes", "Chunk"),
    "openai.responses": ("openai_responses_events", "StreamEvent"),
    "gemini.streamGenerateContent": ("gemini_shapes", "Chunk"),
    "cohere.v2.chat": ("cohere_events", "StreamEvent"),
    "bedrock.converse-stream": ("bedrock_events", "StreamEvent"),
    "ollama.chat": ("ollama_shapes", "Chunk"),
}
"""By API, the module of `turnwise.wire` and the type in it that an event of a stream is decoded into."""


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
    if api.startswith("bedrock"):
        framer = import_module("turnwise.wire.event_stream").EventStreamFramer()
        return [bytes(m.payload) for m in framer.feed(body)]
    if api == "ollama.chat":
        return [line for line in body.split(b"\n") if line.strip()]
    if body.lstrip()[:1] == b"[":
        return [bytes(one) for one in msgspec.json.decode(body, type=list[msgspec.Raw])]
    lines = body.replace(b"\r\n", b"\n").split(b"\n")
    return [p for line in lines if line.startswith(b"data:") and (p := line[5:].strip()) and p != b"[DONE]"]


def decode_all(decode: Callable[[bytes], Any], payloads: Sequence[bytes]) -> None:
    for payload in payloads:
        decode(payload)


def read(api: str, headers: dict[str, str], body: bytes) -> None:
    reading, reducer = decoder(api, 200, headers), Reducer()
    reducer.feed(reading.feed(body))
    reducer.feed(reading.finish())
    reducer.finish()


def least(function: Callable[[], None], other: Callable[[], None], rounds: int) -> tuple[float, float]:
    """The least time of each, in seconds, alternating."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for at, run in enumerate((function, other)):
            begun = time.perf_counter()
            run()
            best[at] = min(best[at], time.perf_counter() - begun)
    return best[0], best[1]


def event_type(api: str) -> Any:
    module, name = EVENT_TYPES[api]
    return getattr(import_module(f"turnwise.wire.{module}"), name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--api", default="")
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    streams = list(records(given.folder)) if given.folder else [made(api) for api in EVENT_TYPES if api.startswith(given.api)]
    print(f"{'api':32} {'streams':>7} {'events':>7} {'ratio':>6}  of single streams: median, worst with 20 events or more")
    for api in EVENT_TYPES:
        if not api.startswith(given.api):
            continue
        decode = msgspec.json.Decoder(event_type(api)).decode
        ours = base = 0.0
        events, ratios, worst = 0, list[float](), 0.0
        for _, headers, body in [s for s in streams if s[0] == api]:
            payloads = payloads_of(api, body)
            try:
                decode_all(decode, payloads)
            except msgspec.MsgspecError:
                continue  # an event that our type leaves to a second, patient reading has no base line
            a, b = least(lambda: read(api, headers, body), lambda: decode_all(decode, payloads), given.rounds)  # noqa: B023
            ours, base, events = ours + a, base + b, events + len(payloads)
            ratios.append(a / b)
            if len(payloads) >= 20:
                worst = max(worst, a / b)
        if ratios:
            median = sorted(ratios)[len(ratios) // 2]
            print(f"{api:32} {len(ratios):7} {events:7} {ours / base:6.2f}  {median:.2f}, {worst:.2f}")


if __name__ == "__main__":
    main()
