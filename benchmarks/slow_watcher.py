"""How far ahead of a slow consumer a framework reads: 20,000 deltas, 2 ms per event, gone after 200. Turnwise, and its peers if there.

    python benchmarks/slow_watcher.py [PERF_FOLDER [NAME ...]]      # how much was read and written when 200 were consumed
    python benchmarks/slow_watcher.py --to-the-end                  # Turnwise alone, all 20,000: memory over time

PERF_FOLDER is a copy of the side-by-side benchmark (it has `adapters/` and `venvs/`); without it Turnwise is measured alone. The
server here writes as fast as the kernel takes it and counts what it could write. Each subject runs in a process of its own
(`slow_consumer.py`), which stands still at its 200th event until everything has been counted.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
TURNWISE = ["turnwise", "turnwise_batch", "turnwise_channel", "turnwise_coalesced"]
PEERS = ["pydantic_ai", "strands", "langgraph", "openai_agents", "adk"]
DELTAS, LEAVE_AFTER = 20_000, 200
SEND_BUFFER_BYTES = 64 << 10
"""Keeps the kernel, which would take megabytes in advance, from hiding who reads ahead. It doubles the figure."""
STILL_S = 0.2
"""When the server could write nothing for so long, all buffers are full."""
EVENT = (
    'data: {"id":"chatcmpl-C9xkQ0aYlB7mT3Zr8WsD","object":"chat.completion.chunk","created":1760000000,"model":"text-20000",'
    '"service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":%s,"logprobs":null,'
    '"finish_reason":%s}],"usage":null}\n\n'
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(delta: str, finish: str = "null") -> bytes:
    return (EVENT % (delta, finish)).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


WORDS = [" the m", " odel ", "stream", "s one ", "word a", "fter a", "nother", " here."]
DELTA_BYTES = len(event(f'{{"content":"{WORDS[0]}"}}'))


def response(deltas: int) -> bytes:
    events = [event(f'{{"content":"{WORDS[n % len(WORDS)]}"}}') for n in range(deltas)]
    ends = [event('{"role":"assistant","content":""}'), event("{}", '"stop"'), b"data: [DONE]\n\n"]
    return b"".join([chunk(e) for e in [ends[0], *events, *ends[1:]]]) + b"0\r\n\r\n"


BODY, WARM_UP = response(DELTAS), response(20)


class Server:
    """Answers every request for text-20000 with the same 20,000 deltas; `written` counts what the kernel has taken of that. Every other
    request gets 20."""

    def __init__(self) -> None:
        self.written = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            try:
                while asked := self._read_request(connection):
                    connection.sendall(HEAD)
                    if b"text-20000" not in asked:
                        connection.sendall(WARM_UP)
                        continue
                    left = memoryview(BODY)
                    while left:
                        taken = connection.send(left[:65536])
                        self.written += taken
                        left = left[taken:]
            except OSError:
                return

    @staticmethod
    def _read_request(connection: socket.socket) -> bytes:
        got = b""
        while b"\r\n\r\n" not in got:
            data = connection.recv(65536)
            if not data:
                return b""
            got += data
        head, _, body = got.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        while length is None and not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(65536)
        while length is not None and len(body) < int(length[1]):
            body += connection.recv(65536)
        return body

    def settled(self) -> int:
        """What was written once no more can be."""
        written, since = -1, time.monotonic()
        while time.monotonic() - since < STILL_S:
            if written != self.written:
                written, since = self.written, time.monotonic()
            time.sleep(0.01)
        return written


@contextmanager
def child(perf: str, name: str, url: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The consumer, in its own process and virtual environment."""
    command = [python_of(perf, name), f"{HERE}/slow_consumer.py", perf, name, url, *options]
    env = {**os.environ, "PERF_ADAPTERS": f"{HERE}/peers"}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def python_of(perf: str, name: str) -> str:
    if name not in PEERS:
        return os.environ.get("PERF_PYTHON", sys.executable)
    with open(f"{perf}/adapters/{name}.py") as adapter:
        venv = re.search(r'^VENV\b.*?= "([^"]+)"', adapter.read(), re.MULTILINE)
    assert venv is not None
    return f"{perf}/venvs/{venv[1]}/bin/python"


def told(running: subprocess.Popen[str]) -> dict[str, Any]:
    """The next report of a child; whatever else it prints is passed over."""
    assert running.stdout is not None
    for line in running.stdout:
        if line.startswith("REPORT "):
            return json.loads(line[7:])
    raise RuntimeError("the consumer ended without a report")


def measure(perf: str, name: str) -> dict[str, Any]:
    """What was read and written when the consumer had taken 200 events, and what came after it left."""
    server = Server()
    with child(perf, name, server.url, str(LEAVE_AFTER)) as running:
        found = told(running)
        found["written"] = server.settled() * DELTAS / len(BODY)
        assert running.stdin is not None
        running.stdin.write("\n")
        running.stdin.flush()
        found |= told(running)
    return found


def compare(perf: str, names: list[str]) -> None:
    print(f"An event is {DELTA_BYTES} bytes; the whole response {len(BODY) / 1e6:.1f} MB.\n")
    print("| | made into objects | taken from the HTTP client | written by the server | RSS grown MB | left after ms |")
    print("|---|---|---|---|---|---|")
    for name in names:
        try:
            found = measure(perf, name)
        except (RuntimeError, OSError) as error:
            print(f"| {name} | {error} |", flush=True)
            continue
        events = [f"{found[k]:,.0f}" for k in ("objects", "read", "written")]
        print(
            f"| {name} | {' | '.join(events)} | {found['grown_kb'] / 1024:.1f} | {found['left_ms']:.0f} |", flush=True
        )


def to_the_end() -> None:
    print("| deltas consumed | seconds | heap kB | heap per delta | RSS MB |")
    print("|---|---|---|---|---|")
    with child("", "turnwise", Server().url, str(DELTAS), "traced") as running:
        first: dict[str, Any] | None = None
        while True:
            row = told(running)
            if "heap_kb" not in row:
                break
            first = first or row
            n = row["consumed"] - first["consumed"]
            each = f"{(row['heap_kb'] - first['heap_kb']) * 1024 / n:.0f} B" if n else ""
            cells = (
                f"{row['consumed']:,} | {row['s']:.1f} | {row['heap_kb']:,.0f} | {each} | {row['rss_kb'] / 1024:.1f}"
            )
            print(f"| {cells} |", flush=True)


def main() -> None:
    if sys.argv[1:] == ["--to-the-end"]:
        to_the_end()
        return
    perf = os.path.abspath(sys.argv[1]) if sys.argv[1:] else ""
    compare(perf, sys.argv[2:] or TURNWISE + (PEERS if perf else []))


if __name__ == "__main__":
    main()
