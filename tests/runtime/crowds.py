"""Many turns at once, all held in one phase, and what it takes to interrupt them: the phases of rule C1 as values.

A phase is an asynchronous context manager that gives a `Crowd`: sessions of one runtime, each with a turn that is in that phase
and will not leave it by itself. `interrupt_all` interrupts them at once and measures. The bound is in test_interrupt_latency.py;
`python -m tests.runtime.crowds` prints the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from tests.conftest import children
from tests.runtime.conftest import ANTHROPIC, OPENAI, until
from tests.runtime.held_in_process import hold
from tests.runtime.loop_time import run_metered

from turnwise import (
    Allow,
    Ask,
    AssistantMessage,
    ProposedCall,
    ProviderLimits,
    Runtime,
    Session,
    Tool,
    ToolContext,
    TurnResult,
    UserMessage,
    tool,
)
from turnwise.core.messages import Message
from turnwise.events import AttemptRestarted, Event, Notice, StepStarted, TextDelta, ToolStarted, TurnFinished
from turnwise.store.memory import SuspendingStore
from turnwise.testing import ScriptedProvider, call, fail, hang, repeat, repeated, reply
from turnwise.testing.script import ScriptItem

CLOSING = {"connection": "close"}
"""For replies whose connection is not to be kept: what is left of sockets is counted."""
STORE_S = 0.02
"""What an append to the slow store takes."""


class Left(NamedTuple):
    """What there is beside the test itself."""

    tasks: frozenset[asyncio.Task[Any]]
    sockets: int
    children: frozenset[str]

    @classmethod
    def now(cls) -> Left:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        return cls(frozenset(tasks), sockets(), frozenset(children()))


def sockets() -> int:
    """Open sockets of this process, both ends of those that connect it with itself."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    return count


class Crowd:
    """Sessions of one runtime, each with a turn under way. `before` is what there was before them."""

    def __init__(self, runtime: Runtime, provider: ScriptedProvider | None = None) -> None:
        self.runtime = runtime
        self.provider = provider
        self.before = Left.now()
        self.sessions: list[Session[Any]] = []
        self.seen: list[list[type[Any]]] = []
        self.turns: list[asyncio.Task[Ended]] = []
        self.pulled = True
        self.watching = 0
        """How many turns are parked and have their session watched."""
        self.history: Sequence[Message] = ()
        self.again = asyncio.Event()
        self.on_interrupt: Callable[[], None] = lambda: None
        self.abandoned: Callable[[], int] = lambda: 0
        """How many bodies cannot be stopped, as the tools themselves count them."""
        self.let_go: Callable[[], None] = lambda: None
        """Ends those bodies."""

    def start(self, count: int, *tools: Any, url: str = "", own_keys: bool = False, **options: Any) -> None:
        """Begin a turn in each of `count` new sessions, by turns with one API and the other."""
        for number in range(count):
            host = (ANTHROPIC, OPENAI)[number % 2]
            agent = host.agent(self.provider or url, *tools, runtime=self.runtime, **options)
            if own_keys:
                agent.models[0].connection["api_key"] = f"key-{number}"
            self.sessions.append(agent.session(history=self.history))
            self.seen.append([])
            self.turns.append(asyncio.create_task(self._follow(number)))

    async def _follow(self, number: int) -> Ended:
        """Read a turn to its end. If it parks, its stream is over: the end is then told to who watches the session."""
        session = self.sessions[number]
        async with session.stream("Hi") as turn:
            ended = await self._read(number, turn)
        if ended is None:
            async with session.watch() as watcher:
                self.watching += 1
                ended = await self._read(number, watcher)
        assert ended is not None, "what was read ended without TurnFinished"
        return ended

    async def _read(self, number: int, events: AsyncIterable[Event]) -> Ended | None:
        """Up to `TurnFinished`; None if that does not come. With `pulled` off, no further than the first text until `again` is set."""
        loop = asyncio.get_running_loop()
        async for event in events:
            self.seen[number].append(type(event))
            if type(event) is TurnFinished:
                return Ended(loop.time(), event.result)
            if type(event) is TextDelta and not self.pulled:
                await self.again.wait()
        return None

    @property
    def registered(self) -> int:
        """Abandoned bodies by the runtime's own count."""
        return len(self.runtime.abandoned_bodies) + self.runtime.blocking.abandoned

    async def all_saw(self, kind: type[Any]) -> None:
        await until(lambda: all(kind in seen for seen in self.seen))


class Ended(NamedTuple):
    """When `TurnFinished` was at hand (loop time), and what it said."""

    at: float
    result: TurnResult


class Measured(msgspec.Struct):
    """What it took to interrupt a crowd. Seconds of loop time, from just before the first call of `interrupt` on."""

    took_s: list[float]
    """Until each turn had ended."""
    cleared_s: float
    """Until nothing was left of them but abandoned bodies."""
    real_s: float
    """The same on the machine's clock."""
    results: list[TurnResult]
    abandoned: int
    """Bodies that run on: as many as the runtime has registered."""


async def interrupt_all(crowd: Crowd) -> Measured:
    """Interrupt every turn of a crowd, see them end, and wait until nothing is left of them. Garbage is collected before and not in
    between: a full collection takes as long as the heap of the whole test run is large."""
    gc.collect()
    gc.disable()
    try:
        return await _interrupt_all(crowd)
    finally:
        gc.enable()


async def _interrupt_all(crowd: Crowd) -> Measured:
    loop = asyncio.get_running_loop()
    real, asked_at = time.monotonic(), loop.time()
    for session in crowd.sessions:
        assert session.interrupt()
    crowd.on_interrupt()
    took = [] if crowd.pulled else await _ends_unpulled(crowd, asked_at)
    crowd.again.set()
    ended = await asyncio.gather(*crowd.turns)
    took = took or [e.at - asked_at for e in ended]
    await until(lambda: _is_clear(crowd))
    cleared, real = loop.time() - asked_at, time.monotonic() - real
    await until(lambda: crowd.registered == crowd.abandoned())  # a thread that was just leaving or entering
    return Measured(took, cleared, real, [e.result for e in ended], crowd.registered)


async def _ends_unpulled(crowd: Crowd, asked_at: float) -> list[float]:
    """When each turn was over, although nobody read it."""
    loop = asyncio.get_running_loop()
    took, running = [0.0] * len(crowd.sessions), set(range(len(crowd.sessions)))

    def over() -> bool:
        for number in [n for n in running if not crowd.sessions[n].running]:
            running.discard(number)
            took[number] = loop.time() - asked_at
        return not running

    await until(over)
    return took


def _is_clear(crowd: Crowd) -> bool:
    """No task, socket or child is left of the crowd, but for abandoned coroutines."""
    left, before = Left.now(), crowd.before
    tasks = left.tasks - before.tasks - crowd.runtime.abandoned_bodies
    return not tasks and left.sockets <= before.sockets and left.children <= before.children


# --- the phases --------------------------------------------------------------------------------------------------------

Phase = Callable[[int], AbstractAsyncContextManager[Crowd]]


@asynccontextmanager
async def _scripted(
    script: Sequence[ScriptItem], limits: dict[str, ProviderLimits] | None = None, window_tokens: int | None = None
) -> AsyncGenerator[Crowd]:
    async with ScriptedProvider(script, window_tokens=window_tokens) as provider, Runtime(limits=limits) as runtime:
        yield Crowd(runtime, provider)


@asynccontextmanager
async def connecting(count: int) -> AsyncGenerator[Crowd]:
    """The queue of a socket that never accepts is full: no further connection is answered."""
    with socket.socket() as listening, contextlib.ExitStack() as waiting:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        async with Runtime() as runtime:
            crowd = Crowd(runtime)
            crowd.start(count, url=f"http://127.0.0.1:{listening.getsockname()[1]}")
            await until(lambda: sockets() == crowd.before.sockets + count)
            await crowd.all_saw(StepStarted)
            yield crowd


@asynccontextmanager
async def in_tls(count: int) -> AsyncGenerator[Crowd]:
    """The server accepts, reads the client's greeting and says nothing."""
    greeted = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal greeted
        await reader.read(1)
        greeted += 1
        with contextlib.suppress(OSError):
            while await reader.read(4096):
                pass
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server, Runtime() as runtime:
        crowd = Crowd(runtime)
        crowd.start(count, url=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await until(lambda: greeted == count)
        yield crowd


@asynccontextmanager
async def waiting_for_headers(count: int) -> AsyncGenerator[Crowd]:
    async with _scripted([*[hang()] * count, repeat(reply("Here we are."))]) as crowd:
        crowd.start(count)
        await _each_reached(crowd, "stalled", count)
        yield crowd


@asynccontextmanager
async def streaming_pulled(count: int) -> AsyncGenerator[Crowd]:
    """Each consumer waits for more of a stream that has stopped."""
    stopped = reply(repeated("word "), stall_after_event=20)
    async with _scripted([*[stopped] * count, repeat(reply("Here we are."))]) as crowd:
        crowd.start(count)
        await _each_reached(crowd, "stalled", count)
        await crowd.all_saw(TextDelta)
        yield crowd


@asynccontextmanager
async def streaming_unpulled(count: int) -> AsyncGenerator[Crowd]:
    """Nobody reads, and the server cannot write any more."""
    long = reply(repeated("x" * 10_000))
    async with _scripted([*[long] * count, repeat(reply("Here we are."))]) as crowd:
        crowd.pulled = False
        crowd.start(count)
        await crowd.all_saw(TextDelta)
        await _each_reached(crowd, "blocked", count)
        await _nothing_moves(crowd)
        yield crowd


@asynccontextmanager
async def in_retry_sleep(count: int) -> AsyncGenerator[Crowd]:
    failed = fail(503, headers={"retry-after": "50", **CLOSING})
    async with _scripted([*[failed] * count, repeat(reply("Here we are."))]) as crowd:
        crowd.start(count, own_keys=True)
        await crowd.all_saw(AttemptRestarted)
        yield crowd


@asynccontextmanager
async def queued_for_a_slot(count: int) -> AsyncGenerator[Crowd]:
    """`ProviderLimits(concurrency=1)`: the first turn of each API holds the slot, the others wait for it."""
    async with _scripted(
        [hang(), hang(), repeat(reply("Here we are."))], {"*": ProviderLimits(concurrency=1)}
    ) as crowd:
        crowd.start(count)
        await _each_reached(crowd, "stalled", 2)
        await crowd.all_saw(StepStarted)
        yield crowd


@asynccontextmanager
async def queued_for_a_rate(count: int) -> AsyncGenerator[Crowd]:
    """`ProviderLimits(requests_per_minute=1)`: one request of each API goes out, the others wait for the next minutes."""
    limits = {"*": ProviderLimits(requests_per_minute=1)}
    async with _scripted([hang(), hang()], limits) as crowd:
        crowd.start(count)
        await _each_reached(crowd, "stalled", 2)
        await crowd.all_saw(StepStarted)
        yield crowd


async def _each_reached(crowd: Crowd, point: Any, count: int) -> None:
    assert crowd.provider is not None
    for number in range(1, count + 1):
        await crowd.provider.reached(point, number)


async def _nothing_moves(crowd: Crowd) -> None:
    """Until every buffer between the provider and its clients is full."""
    assert crowd.provider is not None
    written, same = 0, 0
    while same < 200:
        await asyncio.sleep(0)
        same = same + 1 if written == crowd.provider.bytes_written else 0
        written = crowd.provider.bytes_written


# --- tools -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _calling(body: Any, count: int, **arguments: Any) -> AsyncGenerator[Crowd]:
    """Each turn has called the tool."""
    asked = reply(call(body.name, **arguments), headers=CLOSING)
    async with _scripted([*[asked] * count, repeat(reply("Here we are."))]) as crowd:
        crowd.start(count, body)
        await crowd.all_saw(ToolStarted)
        yield crowd


@asynccontextmanager
async def in_async_tool(count: int) -> AsyncGenerator[Crowd]:
    entered = 0

    @tool
    async def wait() -> str:
        nonlocal entered
        entered += 1
        await asyncio.Event().wait()
        return ""

    async with _calling(wait, count) as crowd:
        await until(lambda: entered == count)
        yield crowd


@asynccontextmanager
async def in_deaf_tool(count: int) -> AsyncGenerator[Crowd]:
    """Coroutines that ignore their cancellation: each is abandoned after its grace."""
    release, inside = asyncio.Event(), 0

    @tool
    async def deaf() -> str:
        nonlocal inside
        inside += 1
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        inside -= 1
        return "too late"

    async with _calling(deaf, count) as crowd:
        crowd.abandoned, crowd.let_go = lambda: inside, release.set
        try:
            await until(lambda: inside == count)
            yield crowd
        finally:
            release.set()


@asynccontextmanager
async def in_thread_tool(count: int) -> AsyncGenerator[Crowd]:
    """As many as there are threads have begun; the others wait for a thread."""
    release, lock, inside = threading.Event(), threading.Lock(), 0

    @tool
    def block() -> str:
        nonlocal inside
        with lock:
            inside += 1
        release.wait(20)
        with lock:
            inside -= 1
        return "too late"

    async with _calling(block, count) as crowd:
        crowd.abandoned, crowd.let_go = lambda: inside, release.set
        try:
            await until(lambda: inside == min(count, 32))
            yield crowd
        finally:
            release.set()


@asynccontextmanager
async def in_command(count: int) -> AsyncGenerator[Crowd]:
    """A tool that runs a command."""

    @tool
    async def wait(ctx: ToolContext[None]) -> str:
        await ctx.run_process(["sleep", "600"])
        return ""

    async with _calling(wait, count) as crowd:
        await until(lambda: len(children()) == len(crowd.before.children) + count)
        yield crowd


@asynccontextmanager
async def in_isolated_tool(count: int) -> AsyncGenerator[Crowd]:
    """Tools in interpreters of their own."""
    with tempfile.TemporaryDirectory() as folder:
        async with _calling(hold, count, folder=folder) as crowd:
            await until(lambda: len(os.listdir(folder)) == count)
            yield crowd


@asynccontextmanager
async def parked(count: int) -> AsyncGenerator[Crowd]:
    """Each turn waits for leave for one call and for the caller's outcome of another; no task and no socket waits with it."""

    @tool
    async def write(path: str) -> str:
        raise AssertionError("nobody gave leave")

    badge = Tool.external("badge", "Ask the front desk for a badge.", {"type": "object", "properties": {}})
    asked = reply(call("write", path="a"), call("badge"), headers=CLOSING)
    async with _scripted([*[asked] * count, repeat(reply("Here we are."))]) as crowd:
        crowd.start(count, write, badge, approvals=_asks_to_write)
        await until(lambda: crowd.watching == count)
        assert all({p.kind for p in session.pending} == {"approval", "external"} for session in crowd.sessions)
        await until(lambda: _only_watched(crowd))
        yield crowd


def _asks_to_write(proposed: ProposedCall) -> Allow | Ask:
    return Ask("it writes") if proposed.name == "write" else Allow()


def _only_watched(crowd: Crowd) -> bool:
    """Nothing is left of the turns; the tasks are those of the test, which watch the sessions."""
    left, before = Left.now(), crowd.before
    return left.tasks - before.tasks <= {*crowd.turns} and left.sockets <= before.sockets


@asynccontextmanager
async def appending(count: int) -> AsyncGenerator[Crowd]:
    """A store that takes `STORE_S` for each append is writing the input of every turn."""
    asked, writing = asyncio.Event(), 0

    async def pause(when: str) -> None:
        nonlocal writing
        if when == "before":
            writing += 1
            await asked.wait()
            await asyncio.sleep(STORE_S)

    async with _scripted([repeat(reply("Here we are."))]) as crowd:
        crowd.on_interrupt = asked.set
        crowd.start(count, store=SuspendingStore(pause))
        await until(lambda: writing == count)
        yield crowd


@asynccontextmanager
async def compacting(count: int) -> AsyncGenerator[Crowd]:
    """The provider has found each conversation too long, and the summary that is asked for does not come."""
    async with _scripted([*[hang()] * count, repeat(reply("Here we are."))], window_tokens=3000) as crowd:
        said = UserMessage("Hi", 1, 1), AssistantMessage("so it is " * 800, 1, 1)
        crowd.history = [msgspec.structs.replace(m, turn=turn) for turn in (1, 2, 3) for m in said]
        crowd.start(count)
        await crowd.all_saw(Notice)
        assert crowd.provider is not None
        requests = crowd.provider.requests
        await until(lambda: len(requests) == 2 * count)
        yield crowd


PHASES: dict[str, tuple[Phase, int]] = {
    "connecting": (connecting, 100),
    "TLS handshake": (in_tls, 100),
    "waiting for headers": (waiting_for_headers, 100),
    "streaming, consumer pulls": (streaming_pulled, 100),
    "streaming, consumer does not pull": (streaming_unpulled, 100),
    "retry sleep": (in_retry_sleep, 100),
    "queued for a slot": (queued_for_a_slot, 100),
    "queued for a rate": (queued_for_a_rate, 100),
    "async tool": (in_async_tool, 100),
    "async tool that ignores it": (in_deaf_tool, 100),
    "tool in a thread": (in_thread_tool, 100),
    "tool that runs a command": (in_command, 100),
    "tool in a process": (in_isolated_tool, 8),
    "parked": (parked, 100),
    "compacting": (compacting, 100),
    "appending to a slow store": (appending, 100),
}
"""Each phase and how many turns are in it: interpreters take the machine too long to start for more than a few."""


# --- figures -----------------------------------------------------------------------------------------------------------


async def _measured(phase: Phase, count: int) -> Measured:
    async with phase(count) as crowd:
        measured = await interrupt_all(crowd)
        crowd.let_go()
        await until(lambda: crowd.registered == 0)
    return measured


def main() -> None:
    """A row per phase, as Markdown."""
    print("| phase | turns | first ended ms | last ended ms | nothing left ms | machine's clock ms | abandoned |")
    print("|---|---|---|---|---|---|---|")
    for name, (phase, count) in PHASES.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        m = run_metered(_measured(phase, count))
        times = [f"{s * 1000:.0f}" for s in (min(m.took_s), max(m.took_s), m.cleared_s, m.real_s)]
        print(f"| {name} | {count} | {' | '.join(times)} | {m.abandoned} |", flush=True)


if __name__ == "__main__":
    main()
