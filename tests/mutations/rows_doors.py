"""Planted bugs: imports, loops and threads (I). See `table.py`."""

from __future__ import annotations

from row import R, Row

ROWS = [
    Row(
        "I1",
        "importing turnwise loads the engine",
        "__init__.py",
        '__version__ = "',
        'from .runtime import session as _session\n\n__version__ = "',
        (f"{R}test_sync.py::test_import_loads_no_engine",),
    ),
    Row(
        "I2",
        "Ctrl-C leaves the turn running",
        "runtime/facade.py",
        "        future.cancel()\n        ended.wait(CTRL_C_GRACE_S)\n",
        "",
        (f"{R}test_sync.py::test_ctrl_c_interrupts_waits_and_is_raised_again[model]",),
    ),
    Row(
        "I2",
        "a forked child goes on with its parent's session",
        "runtime/process.py",
        "    _current[0] = object()\n",
        "",
        (f"{R}test_sync.py::test_after_a_fork",),
    ),
    Row(
        "I3",
        "the default runtime outlives its loop",
        "runtime/runtime.py",
        "        yield\n    finally:\n        await runtime.close()\n",
        "        yield\n    finally:\n        pass\n",
        (f"{R}test_sync.py::test_asyncio_run_again_and_again",),
    ),
    Row(
        "I3",
        "a closed runtime leaves its connections open",
        "runtime/runtime.py",
        "for owned in (self._blocking, self._spawn, self._transport):",
        "for owned in (self._blocking, self._spawn):",
        (f"{R}test_sync.py::test_an_explicit_runtime_closes_everything[anthropic-streamed]",),
    ),
]
