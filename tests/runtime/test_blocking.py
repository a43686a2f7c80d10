"""Blocking functions run in bounded threads; what will not stop is abandoned, counted and capped (rules E3, E5)."""

import asyncio
import contextlib
import contextvars
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from turnwise.runtime.blocking import ThreadPool

LIMIT_S = 20.0


@contextlib.asynccontextmanager
async def pool(**options: Any) -> AsyncIterator[ThreadPool]:
    made = ThreadPool(**options)
    try:
        yield made
    finally:
        await made.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110  (threads set no events of ours)
            await asyncio.sleep(0.001)


class Gate:
    """A function that says when it is running and does not return before it is told to."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> str:
        self.running.set()
        assert self.open.wait(LIMIT_S)
        return "late"


async def test_results_and_exceptions_arrive() -> None:
    def fail() -> None:
        raise KeyError("x")

    async with pool() as threads:
        assert await threads.run(lambda: threading.current_thread() is not threading.main_thread())
        with pytest.raises(KeyError):
            await threads.run(fail)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, StopIteration, GeneratorExit])
async def test_an_exit_or_cancellation_in_a_thread_is_a_plain_error_here(kind: type[BaseException]) -> None:  # C3
    def leave() -> None:
        raise kind("now")

    async with pool() as threads:
        with pytest.raises(RuntimeError, match=kind.__name__) as raised:
            await threads.run(leave)
        assert isinstance(raised.value.__cause__, kind)
        assert await threads.run(lambda: "still here") == "still here"


async def test_the_callers_context_variables_are_copied() -> None:
    var = contextvars.ContextVar("var", default="unset")
    var.set("mine")

    def change() -> str:
        seen = var.get()
        var.set("changed")
        return seen

    async with pool(max_threads=1) as threads:
        assert await threads.run(change) == "mine"
        assert var.get() == "mine"
        assert await threads.run(var.get) == "mine"


async def test_at_most_max_threads_run_and_they_really_run_together() -> None:
    barrier = threading.Barrier(4, timeout=LIMIT_S)
    inside, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        barrier.wait()
        with lock:
            inside -= 1

    async with pool(max_threads=4) as threads:
        await asyncio.gather(*[threads.run(work) for _ in range(16)])
        assert most == 4
        assert threads.threads == 4


async def test_idle_threads_are_used_again_and_end_after_a_while() -> None:
    async with pool(idle_s=0.05) as threads:
        assert len({await threads.run(threading.get_ident) for _ in range(20)}) == 1
        await until(lambda: threads.threads == 0)
        assert await threads.run(lambda: "again") == "again"


async def test_cancelled_before_its_start_it_never_runs() -> None:
    async with pool(max_threads=1) as threads:
        gate, ran = Gate(), False

        def never() -> None:
            nonlocal ran
            ran = True

        first, second = threads.run(gate), threads.run(never)
        await until(gate.running.is_set)
        second.cancel()
        gate.open.set()
        assert await first == "late"
        assert await threads.run(lambda: "next") == "next"
        assert not ran
        assert threads.abandoned == 0


async def test_cancelled_after_its_start_it_is_abandoned_and_counted_until_it_ends() -> None:  # E3
    async with pool(max_threads=1) as threads:
        gate = Gate()
        job = threads.run(gate)
        await until(gate.running.is_set)
        job.cancel()
        assert threads.abandoned == 1
        assert await threads.run(lambda: "not held up") == "not held up"  # it takes no place among max_threads
        gate.open.set()
        await until(lambda: threads.abandoned == 0)
        assert job.cancelled()  # the late result was dropped
        await until(lambda: threads.threads == 1)


async def test_a_task_that_waits_may_be_cancelled() -> None:
    async with pool() as threads:
        gate = Gate()

        async def tool() -> Any:
            return await threads.run(gate)

        task = asyncio.ensure_future(tool())
        await until(gate.running.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert threads.abandoned == 1
        gate.open.set()
        await until(lambda: threads.abandoned == 0)


async def test_too_many_abandoned_and_work_is_refused() -> None:
    async with pool(max_threads=2, max_abandoned=2) as threads:
        gates = [Gate() for _ in range(2)]
        jobs = [threads.run(g) for g in gates]
        await until(lambda: all(g.running.is_set() for g in gates))
        for job in jobs:
            job.cancel()
        with pytest.raises(RuntimeError, match=r"2 blocking functions .* isolation='process'"):
            threads.run(lambda: None)
        gates[0].open.set()
        await until(lambda: threads.abandoned == 1)
        assert await threads.run(lambda: "room again") == "room again"
        gates[1].open.set()
        await until(lambda: threads.abandoned == 0)


async def test_abandoned_functions_hold_a_bounded_number_of_threads() -> None:  # E3
    """What waits moves up as bodies are abandoned, but not without end; when all threads are theirs it is refused."""
    async with pool(max_threads=2, max_abandoned=1) as threads:
        gates = [Gate() for _ in range(5)]
        jobs = [threads.run(g) for g in gates]
        await until(lambda: all(g.running.is_set() for g in gates[:2]))
        jobs[0].cancel()
        await until(gates[2].running.is_set)
        jobs[1].cancel()
        assert (threads.abandoned, threads.threads) == (2, 3)
        jobs[2].cancel()
        for waiting in jobs[3:]:
            with pytest.raises(RuntimeError, match=r"3 blocking functions .* isolation='process'"):
                await waiting
        assert (threads.abandoned, threads.threads) == (3, 3)
        assert not any(g.running.is_set() for g in gates[3:])
        for gate in gates:
            gate.open.set()
        await until(lambda: threads.abandoned == 0)
        assert await threads.run(lambda: "room again") == "room again"


async def test_close_waits_for_idle_threads_and_not_for_deaf_ones() -> None:
    threads, gate = ThreadPool(max_threads=1), Gate()
    running, waiting = threads.run(gate), threads.run(lambda: "never")
    await until(gate.running.is_set)
    await threads.close()
    assert running.cancelled()
    assert waiting.cancelled()
    assert (threads.abandoned, threads.threads) == (1, 1)
    with pytest.raises(RuntimeError, match="closed"):
        threads.run(lambda: None)
    await threads.close()
    gate.open.set()
    await until(lambda: threads.threads == 0)


async def test_close_ends_idle_threads() -> None:
    threads = ThreadPool()
    await asyncio.gather(*[threads.run(lambda: None) for _ in range(5)])
    await threads.close()
    assert threads.threads == 0


async def test_when_no_thread_can_be_made_the_caller_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with pool() as threads:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="refuses to start a thread"):
                threads.run(lambda: None)
        assert await threads.run(lambda: "well again") == "well again"


def test_a_deaf_thread_does_not_keep_the_interpreter_from_ending() -> None:
    program = """
import asyncio, threading
from turnwise.runtime.blocking import ThreadPool
async def main():
    pool, started = ThreadPool(), threading.Event()
    job = pool.run(lambda: (started.set(), threading.Event().wait()))
    while not started.is_set():
        await asyncio.sleep(0.001)
    job.cancel()
    await pool.close()
asyncio.run(main())
print("ended")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("ended\n", "", 0)


def test_a_result_for_a_closed_loop_is_dropped() -> None:
    threads, gate = ThreadPool(), Gate()

    async def leave() -> None:
        threads.run(gate).add_done_callback(lambda f: f.cancelled() or f.exception())
        await until(gate.running.is_set)

    asyncio.run(leave())
    gate.open.set()

    async def close() -> None:
        await until(lambda: threads.abandoned == 0)

    asyncio.run(close())


@pytest.mark.parametrize("options", [{"max_threads": 0}, {"max_abandoned": 0}])
def test_bounds_are_at_least_one(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ThreadPool(**options)
