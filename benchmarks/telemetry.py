"""What telemetry costs: CPU of a turn with it off and on, in blocks that alternate in one process, relative to the same turn without.

    python benchmarks/telemetry.py [--before REVISION] [--rounds N] [--turns N] [--only w1] [--variants off,before]

All of these run in one process; the server is another one. W1 is a turn of 200 deltas that come in a burst, W2 five rounds of four tool calls.

- `cut` is Turnwise as it is here with the seams of telemetry cut out of a copy of its source: what the others are relative to.
- `off` is the code here with nothing set up. A copy differs from what it is copied of by some percent, for where things come to lie in memory;
  so `off x 20` has each seam twenty times, and a twentieth of what that costs is what a seam costs.
- `on` has spans and metrics of the OpenTelemetry SDK, with `SimpleSpanProcessor`, its in-memory exporter and reader; `content` captures what is
  said, too.
- `sdk` is what a program of one's own would do: `off`, and around it by hand the very spans, attributes and measurements that `on` makes, with the
  bare SDK, each at once, and nothing to find out about any of it.
- `before` is Turnwise at a revision (default: BEFORE), from before there were hooks, middleware, a bus or telemetry.

A copy is loaded under another name beside the one that is here: all imports are relative. A round has four passes, each with a short
block of turns of each variant, in a new order; the first turn of a block is not counted. A round is long enough for everything to be in it that
telemetry does once in a while. What is told are medians over the rounds of the ratios in one round, with the 95 % interval
of that median by bootstrap.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import io
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BEFORE = "75f5a72"
"""The last revision without the seams of telemetry."""
WORKLOADS = {"w1": ("text-200", 4), "w2": ("tools-5-4", 2)}
PASSES = 4
SEAMS = (
    (
        "runtime/journalled.py",
        """        if self.runtime.probe is not None:
            self.runtime.probe.appended(cast("Actor[Any]", self), turn, entries)
        if self.runtime.observers:
            tell_observers(cast("Actor[Any]", self), turn, events, counts)
""",
    ),
    (
        "runtime/overseen.py",
        """        for observer in self._session.runtime.observers:
            observer.told(self._session, cast("Turn", self), (began,))
""",
    ),
    (
        "runtime/overseen.py",
        """        if self._session.runtime.observers:
            tell_beside(self._session, cast("Turn", self), events)
""",
    ),
    (
        "runtime/where.py",
        """    probe = session.runtime.probe
    if probe is not None:
        turn.probed = probe.turn_begins(context)
""",
    ),
    ("runtime/where.py", "    SESSION.set(ref(session))\n"),
    (
        "runtime/where.py",
        """    own.run(CALL.set, call_id)
    if runtime.probe is not None:
        runtime.probe.call_begins(turn.probed, call_id, own)
""",
    ),
)
"""What a turn with the store in memory meets of telemetry when it is off: looks at None and at an empty tuple, and the ids for log records."""
MANIFOLD = 20
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


class Variant:
    """A Turnwise, a runtime of its, and what telemetry there is."""

    def __init__(self, module: Any, url: str, model: str, telemetry: Telemetry | None = None) -> None:
        @module.tool
        async def add(a: int, b: int) -> int:
            """Add two numbers."""
            return a + b

        self.delta = importlib.import_module(f"{module.__name__}.events").TextDelta
        self.runtime = module.Runtime()
        self.telemetry = telemetry
        if telemetry is not None and not telemetry.by_hand:
            telemetry.watch(self.runtime)
        self.agent = module.Agent(
            f"openai:{model}", base_url=url, api_key="x", instructions="Be brief.", tools=[add], runtime=self.runtime
        )

    async def turn(self) -> None:
        if self.telemetry is not None and self.telemetry.by_hand:
            root = self.telemetry.begin()
            await self._turn()
            self.telemetry.over(root)
        else:
            await self._turn()

    async def _turn(self) -> None:
        async with self.agent.session().stream("Hello there") as turn:
            async for event in turn:
                if type(event) is self.delta:
                    pass
        assert turn.result.reason == "completed", turn.result

    async def block(self, turns: int) -> float:
        """CPU milliseconds of one turn. What the exporter holds is let go outside of the measurement; what is held back to be measured is not
        helped on its way, so that it comes into one block or the next."""
        await self.turn()
        spent = 0
        for _ in range(turns):
            gc.collect(0)
            began = time.process_time_ns()
            await self.turn()
            spent += time.process_time_ns() - began
        if self.telemetry is not None:
            self.telemetry.exporter.clear()
        return spent / turns / 1e6


class Telemetry:
    """The SDK with everything in memory. With spans that are given it makes these by hand, else it is for `instrument`."""

    def __init__(self, content: bool = False, spans: Sequence[Any] = ()) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers, self.meters = TracerProvider(), MeterProvider([self.reader])
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.content = content
        self.by_hand = bool(spans)
        if spans:
            self._prepare(spans)

    def watch(self, runtime: Any) -> None:
        from turnwise.telemetry import instrument

        instrument(runtime, tracer_provider=self.tracers, meter_provider=self.meters, content=self.content)

    def _prepare(self, spans: Sequence[Any]) -> None:
        from opentelemetry.context import Context, set_value

        meter = self.meters.get_meter("by hand")
        self.tracer = self.tracers.get_tracer("by hand")
        self.duration, self.first, self.tokens = [
            meter.create_histogram(name) for name in ("duration", "first", "tokens")
        ]
        self.nowhere = set_value("by hand", True, Context())
        *below, whole = [(span.name, span.kind, dict(span.attributes)) for span in spans]
        self.below, self.name, self.kind = below, whole[0], whole[1]
        said = list(whole[2].items())
        self.first_said, self.last_said = dict(said[:6]), dict(said[6:])
        names = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")
        self.measured = {name: whole[2][name] for name in names}
        self.input = {**self.measured, "gen_ai.token.type": "input"}
        self.output = {**self.measured, "gen_ai.token.type": "output"}

    def begin(self) -> Any:
        return self.tracer.start_span(
            self.name, self.nowhere, self.kind, dict(self.first_said), start_time=time.time_ns()
        )

    def over(self, root: Any) -> None:
        from opentelemetry.trace import set_span_in_context

        within = set_span_in_context(root, self.nowhere)
        for name, kind, said in self.below:
            span = self.tracer.start_span(name, within, kind, dict(said), start_time=time.time_ns())
            span.end(time.time_ns())
            if name.startswith("chat"):
                self.duration.record(0.1, self.measured, self.nowhere)
                self.first.record(0.1, self.measured, self.nowhere)
                self.tokens.record(120, self.input, self.nowhere)
                self.tokens.record(200, self.output, self.nowhere)
        root.set_attributes(dict(self.last_said))
        root.end(time.time_ns())


def load_before(revision: str, folder: Path) -> Any:
    """Turnwise at a revision, as the package `turnwise_before`."""
    packed = subprocess.run(
        ["git", "archive", revision, "src/turnwise"], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    (folder / "src/turnwise").rename(folder / "turnwise_before")
    return importlib.import_module("turnwise_before")


def load_copy(name: str, times: int, folder: Path) -> Any:
    """Turnwise as it is here, with each of SEAMS so many times, as the package of that name."""
    shutil.copytree(ROOT / "src/turnwise", folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file, seam in SEAMS:
        path = folder / name / file
        source = path.read_text()
        assert source.count(seam) == 1, f"{file} has another seam than this one:\n{seam}"
        path.write_text(source.replace(seam, seam * times))
    return importlib.import_module(name)


async def measure(
    url: str, name: str, before: Any, cut: Any, manifold: Any, rounds: int, turns: int | None, asked: Sequence[str]
) -> None:
    here = importlib.import_module("turnwise")
    model, usual = WORKLOADS[name]
    on = Variant(here, url, model, Telemetry())
    await on.turn()
    assert on.telemetry is not None
    made = on.telemetry.exporter.get_finished_spans()
    variants = {
        "cut": Variant(cut, url, model),
        "before": Variant(before, url, model),
        "off": Variant(here, url, model),
        "off x 20": Variant(manifold, url, model),
        "on": on,
        "content": Variant(here, url, model, Telemetry(content=True)),
        "sdk": Variant(here, url, model, Telemetry(spans=made)),
    }
    variants = {key: one for key, one in variants.items() if key == "cut" or not asked or key in asked}
    seen: dict[str, list[float]] = {key: [] for key in variants}
    for variant in variants.values():
        await variant.block(usual)
    for _ in range(rounds):
        spent = dict.fromkeys(variants, 0.0)
        gc.collect()
        for key in [key for _ in range(PASSES) for key in random.sample(list(variants), len(variants))]:
            gc.collect(1)
            spent[key] += await variants[key].block(turns or usual) / PASSES
        for key, took in spent.items():
            seen[key].append(took)
    print(f"{name}: {len(made)} spans, cut {statistics.median(seen['cut']):.3f} ms a turn")
    for key, times in seen.items():
        ratios = [a / b for a, b in zip(times, seen["cut"], strict=True)]
        low, high = interval(ratios)
        quarters = statistics.quantiles(ratios, n=4)
        print(
            f"  {key:8} {statistics.median(ratios):.3f} ({low:.3f}-{high:.3f}); quartiles {quarters[0]:.2f}-{quarters[2]:.2f};"
            f" of medians {statistics.median(times) / statistics.median(seen['cut']):.3f}; of least {min(times) / min(seen['cut']):.3f}",
            flush=True,
        )
    collected: list[float] = []
    for _ in range(5):
        await on.turn()
        began = time.process_time_ns()
        on.telemetry.reader.collect()
        collected.append((time.process_time_ns() - began) / 1e3)
    print(f"  collecting the metrics once: {statistics.median(collected):.0f} us")
    for variant in {*variants.values(), on}:
        await variant.runtime.close()


def interval(ratios: list[float], draws: int = 4000) -> tuple[float, float]:
    """The 95 % interval of the median, by drawing again from what was seen."""
    drawn = sorted([statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(draws)])
    return drawn[draws // 40], drawn[-draws // 40]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--before", default=BEFORE)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--turns", type=int, help="of a block")
    parser.add_argument("--variants", type=lambda text: text.split(","), default=())
    parser.add_argument("--only", choices=list(WORKLOADS))
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
            sys.path.insert(0, folder)
            before = load_before(asked.before, Path(folder))
            cut, manifold = [load_copy(f"turnwise_{n}", n, Path(folder)) for n in (0, MANIFOLD)]
            for name in WORKLOADS if asked.only is None else (asked.only,):
                asyncio.run(measure(url, name, before, cut, manifold, asked.rounds, asked.turns, asked.variants))
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
