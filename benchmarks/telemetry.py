"""What telemetry costs: CPU of a streamed turn with it off and on, alternated in one process, relative to Turnwise without its seams.

    python benchmarks/telemetry.py [--before REVISION] [--rounds N] [--turns N]

`before` is Turnwise as it was at a revision (default: BEFORE), loaded under another name beside the one that is here: all its
imports are relative. `off` is the code here with nothing set up; `on` has spans and metrics of the OpenTelemetry SDK with its in-memory exporter
and reader; `content` captures what is said, too. W1 is a turn of 200 deltas that come in a burst, W2 five rounds of four tool calls. The
server is another process; whose CPU is measured is this one's.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import io
import os
import random
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BEFORE = "75f5a72"
"""The last revision without the seams of telemetry."""
WORKLOADS = {"w1": ("text-200", 12), "w2": ("tools-5-4", 6)}
EVENT = (
    'data: {"id":"chatcmpl-C9xkQ0aYlB7mT3Zr8WsD","object":"chat.completion.chunk","created":1760000000,"model":"a-model",'
    '"service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":[%s],"usage":%s}\n\n'
)
CHOICE = '{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}'
USAGE = '{"prompt_tokens":120,"completion_tokens":200,"total_tokens":320}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


# --- the server -------------------------------------------------------------------------------------------------------


def stream(deltas: list[str], finish: str) -> bytes:
    events = [EVENT % (CHOICE % (delta, "null"), "null") for delta in ['{"role":"assistant","content":""}', *deltas]]
    events += [EVENT % (CHOICE % ("{}", f'"{finish}"'), "null"), EVENT % ("", USAGE), "data: [DONE]\n\n"]
    body = "".join(events).encode()
    return HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def call(index: int) -> str:
    function = '{"name":"add","arguments":"{\\"a\\":1,\\"b\\":2}"}'
    return f'{{"tool_calls":[{{"index":{index},"id":"call_{index}","type":"function","function":{function}}}]}}'


TEXT = stream(['{"content":" a word or so"}'] * 200, "stop")
CALLS = stream([call(i) for i in range(4)], "tool_calls")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            more = b'"tools-5-4"' in body and body.count(b'"role":"tool"') < 20
            writer.write(CALLS if more else TEXT)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# --- what is measured -------------------------------------------------------------------------------------------------


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Variant:
    """A Turnwise, a runtime of its, and what telemetry there is."""

    def __init__(
        self, module: Any, url: str, model: str, telemetry: Callable[[Any], Callable[[], None]] | None
    ) -> None:
        @module.tool
        async def add(a: int, b: int) -> int:
            """Add two numbers."""
            return a + b

        self.delta = importlib.import_module(f"{module.__name__}.events").TextDelta
        self.runtime = module.Runtime()
        self.forget = None if telemetry is None else telemetry(self.runtime)
        self.agent = module.Agent(
            f"openai:{model}", base_url=url, api_key="x", instructions="Be brief.", tools=[add], runtime=self.runtime
        )

    async def turn(self) -> None:
        async with self.agent.session().stream("Hello there") as turn:
            async for event in turn:
                if type(event) is self.delta:
                    pass
        assert turn.result.reason == "completed", turn.result

    async def round_of(self, turns: int) -> float:
        """CPU milliseconds of one turn. What exporters hold is let go outside of the measurement."""
        spent = 0.0
        for _ in range(turns):
            gc.collect(0)
            began = cpu()
            await self.turn()
            spent += cpu() - began
        if self.forget is not None:
            self.forget()
        return spent / turns * 1e3


def with_sdk(content: bool) -> Callable[[Any], Callable[[], None]]:
    def set_up(runtime: Any) -> Callable[[], None]:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        from turnwise.telemetry import instrument

        exporter = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(exporter))
        meters = MeterProvider([InMemoryMetricReader()])
        instrument(runtime, tracer_provider=tracers, meter_provider=meters, content=content)
        return exporter.clear

    return set_up


def load_before(revision: str, folder: Path) -> Any:
    """Turnwise at a revision, as the package `turnwise_before`."""
    packed = subprocess.run(
        ["git", "archive", revision, "src/turnwise"], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    (folder / "src/turnwise").rename(folder / "turnwise_before")
    sys.path.insert(0, str(folder))
    return importlib.import_module("turnwise_before")


async def measure(url: str, before: Any, rounds: int, turns: int | None) -> None:
    here = importlib.import_module("turnwise")
    for name, (model, usual) in WORKLOADS.items():
        variants = {
            "before": Variant(before, url, model, None),
            "off": Variant(here, url, model, None),
            "on": Variant(here, url, model, with_sdk(content=False)),
            "content": Variant(here, url, model, with_sdk(content=True)),
        }
        seen: dict[str, list[float]] = {key: [] for key in variants}
        for variant in variants.values():
            await variant.round_of(usual)
        for _ in range(rounds):
            for key in random.sample(list(variants), len(variants)):
                gc.collect()
                seen[key].append(await variants[key].round_of(turns or usual))
        base, cells = seen["before"], list[str]()
        for key in ("off", "on", "content"):
            ratios = sorted([a / b for a, b in zip(seen[key], base, strict=True)])
            low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
            whole = statistics.median(seen[key]) / statistics.median(base)
            quickest = min(seen[key]) / min(base)
            rounds_s = f"rounds {statistics.median(ratios):.3f}, {low:.2f}-{high:.2f}; quickest {quickest:.3f}"
            cells.append(f"{key} {whole:.3f} ({rounds_s})")
        print(f"{name}  before {statistics.median(base):.3f} ms | " + " | ".join(cells), flush=True)
        for variant in variants.values():
            await variant.runtime.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--before", default=BEFORE)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--turns", type=int)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve())
        return
    sys.path.insert(0, str(ROOT / "src"))
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {0})
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure(url, load_before(asked.before, Path(folder)), asked.rounds, asked.turns))
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
