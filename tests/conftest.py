"""Runs `async def` tests, each on its own event loop with a hard time limit, and fails what leaks.

After every async test no task may be left that the test or Turnwise started, and no child process. Sockets and files are
held by `-W error`: a resource that is collected unclosed raises.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import settings
from tests.examples import examples

settings.register_profile("turnwise", examples(100))  # for what names no number of its own
settings.load_profile("turnwise")

LIMIT_S = float(os.environ.get("TURNWISE_TEST_LIMIT_S", "3600" if os.environ.get("TURNWISE_LONG") == "1" else "30"))
"""Seconds that a test may take, on its loop; those that `TURNWISE_LONG=1` makes long kill hundreds of processes."""


def children() -> set[str]:
    """Process ids of our direct children."""
    path = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    if not os.path.exists(path):
        return set()
    with open(path) as f:
        return set(f.read().split())


async def _guarded(test: Coroutine[Any, Any, None]) -> None:
    before = children()
    async with asyncio.timeout(LIMIT_S):
        await test
    for _ in range(3):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left running: {left}"
    assert children() <= before, f"children left: {children() - before}"


def pytest_collection_finish(session: pytest.Session) -> None:
    """What the imports made is there to stay: collecting after each test need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever is kept by default is kept elsewhere: no test touches the real data folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNWISE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What earlier tests left alive (modules, reports) stays, too: so the collection after a test costs what the test made."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        gc.collect()
        gc.freeze()


def pytest_sessionfinish() -> None:
    """What was set aside as alive and is garbage since is looked at once, by pytest's own last collections."""
    if (
        "TURNWISE_MUTANT" not in os.environ
    ):  # a run for a planted bug is short, and its nursery holds much that is no garbage
        gc.unfreeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(_guarded(pyfuncitem.obj(**{n: pyfuncitem.funcargs[n] for n in names})))
    gc.collect()
    return True
