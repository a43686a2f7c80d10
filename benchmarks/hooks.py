"""What hooks cost: CPU per tool call with none, with ten that do nothing, and with one elsewhere, in turns that alternate within one run.

    python benchmarks/hooks.py [ROUNDS]

The network is left out: a transport in memory gives each request one response, `CALLS` tool calls first and then an answer. So what is measured is the
whole way of a call, from the response to the next request. Each round is one turn of each kind, in an order that changes from round to round. The
figures: the median turn, the quickest one, and what a turn takes more than the one without hooks in the same round, and how many times as much
(medians over the rounds).
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from turnwise import Agent, HookContext, Runtime, hook, tool
from turnwise.core.errors import ErrorInfo

CALLS = 20

HEAD = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[%s]},"finish_reason":null}]}\n\n'
CALL = b'{"index":%d,"id":"call_%d","type":"function","function":{"name":"noop","arguments":"{\\"n\\":%d}"}}'
ASKED = HEAD % b",".join([CALL % (n, n, n) for n in range(CALLS)])
END = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"%s"}]}\n\ndata: [DONE]\n\n'
SAID = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Done."},"finish_reason":null}]}\n\n'


class Body:
    """A response in memory."""

    status = 200

    def __init__(self, data: bytes) -> None:
        self.headers: Mapping[str, str] = {"content-type": "text/event-stream"}
        self.left = [data]
        self.ended = False

    async def head(self) -> None: ...

    async def read(self) -> bytes:
        self.ended = not self.left
        return self.left.pop() if self.left else b""

    def abort(self, reason: str) -> None: ...
    def close(self) -> None: ...


class Transport:
    """Asks for calls, then answers, and so on."""

    def __init__(self) -> None:
        self.requests = 0

    async def open(
        self, method: str, url: str, headers: Mapping[str, str], body: Sequence[Any], connect_s: float | None = None
    ) -> Body:
        self.requests += 1
        return Body(ASKED + END % b"tool_calls" if self.requests % 2 else SAID + END % b"stop")

    def explain(self, error: BaseException, url: str) -> ErrorInfo:
        return ErrorInfo("provider", "connection", str(error))

    async def close(self) -> None: ...


@tool
async def noop(n: int) -> str:
    return ""


def at(point: str, times: int) -> list[Any]:
    def nothing(context: HookContext) -> None: ...

    return [hook(point, id=f"{point} {n}")(nothing) for n in range(times)]


KINDS: dict[str, list[Any]] = {
    "none": [],
    "none, again": [],
    "10 on tool.before": at("tool.before", 10),
    "1 on tool.before": at("tool.before", 1),
    "10 on tool.after": at("tool.after", 10),
    "10 on step.after": at("step.after", 10),
    "1 on turn.before": at("turn.before", 1),
}


async def measured(agent: Agent[Any]) -> float:
    """Microseconds of CPU per call, in one turn."""
    began = time.process_time()
    result = await agent.run("Go.")
    took = time.process_time() - began
    assert result.calls == CALLS
    return took / CALLS * 1e6


async def main(rounds: int) -> None:
    async with Runtime(transport=Transport()) as runtime:
        agents = {
            name: Agent("openai:m", api_key="k", base_url="http://x", tools=[noop], hooks=hooks, runtime=runtime)
            for name, hooks in KINDS.items()
        }
        names = list(agents)
        taken: dict[str, list[float]] = {name: [] for name in agents}
        gc.disable()
        for round in range(-20, rounds):
            if round % 50 == 0:
                gc.collect()
            for name in names[round % len(names) :] + names[: round % len(names)]:
                took = await measured(agents[name])
                if round >= 0:
                    taken[name].append(took)
    none = taken["none"]
    print(f"{'hooks':20} {'us per call':>12} {'quickest':>9} {'more':>7} {'ratio':>7}")
    for name, times in taken.items():
        more = statistics.median(a - b for a, b in zip(times, none, strict=True))
        ratio = statistics.median(a / b for a, b in zip(times, none, strict=True))
        print(f"{name:20} {statistics.median(times):12.1f} {min(times):9.1f} {more:7.1f} {ratio:7.2f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
