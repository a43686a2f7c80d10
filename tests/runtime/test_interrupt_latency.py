"""Interrupting a hundred turns at once, in each phase: every one ends within 100 ms of loop time and nothing stays behind (rule C1).

The bound is on the clock of `loop_time`: what the loop worked and waited between the first call of `interrupt` and the moment
when `TurnFinished` is at hand (told to a watcher of the session if the turn was parked, since its stream is over by then); what other
processes take of the machine is not in it. The scripted provider runs on the same loop,
so its share counts too. The machine's own clock is bounded as well, loosely, to see a loop that was blocked.
"""

from __future__ import annotations

import asyncio

import pytest
from tests.runtime.conftest import assert_valid, goes_on, results, until
from tests.runtime.crowds import PHASES, Crowd, Measured, interrupt_all
from tests.runtime.loop_time import run_metered

from turnwise.core.outcomes import Cancelled

BOUND_S = 0.1
REAL_S = 5.0
THREADS = 32 + 8
"""The most threads that the default pool ever has: its own, and those that abandoned bodies may hold beside them."""

KILLED = ("tool that runs a command", "tool in a process")
"""Their bodies end when the system has buried their children. A busy machine may take longer for that than a call has to end;
its outcome then says that it may still run, although nothing of it is left a moment later."""


@pytest.mark.parametrize("name", PHASES)
def test_interrupt_latency(name: str) -> None:
    phase, count = PHASES[name]

    async def main() -> None:
        async with asyncio.timeout(60), phase(count) as crowd:
            measured = await interrupt_all(crowd)
            assert len(measured.took_s) == count
            assert max(measured.took_s) < BOUND_S
            assert measured.real_s < REAL_S
            _check_ends(crowd, measured)
            _check_abandoned(name, measured)
            crowd.let_go()
            await until(lambda: crowd.registered == 0)
            assert crowd.abandoned() == 0
            if crowd.provider is not None and name != "queued for a rate":
                await goes_on(crowd.sessions[0])

    run_metered(main())


def _check_ends(crowd: Crowd, measured: Measured) -> None:
    for session, result in zip(crowd.sessions, measured.results, strict=True):
        assert (result.reason, result.cause, result.error) == ("interrupted", "user", None)
        assert_valid(session.messages)
        assert not session.running and session.pending == () and session.interrupt() is False


def _check_abandoned(name: str, measured: Measured) -> None:
    """What runs on is registered, body by body, and the outcomes say which ones."""
    outcomes = [r.outcome for result in measured.results for r in results(result)]
    assert all(type(o) is Cancelled for o in outcomes)
    if name in KILLED:
        assert measured.abandoned == 0
        return
    assert measured.abandoned == sum([o.still_running for o in outcomes if type(o) is Cancelled])
    if name == "async tool that ignores it":
        assert measured.abandoned == len(measured.results)
    elif name == "tool in a thread":
        assert 32 <= measured.abandoned <= THREADS
    else:
        assert measured.abandoned == 0
