"""Whether aimock is wanted, and the one that all tests of a run share.

These tests fetch a package from npm's registry, so they run only when they are asked for: `python -m pytest tests/aimock`. A plain
`python -m pytest` shows one skip instead; so does every test on a machine without Node, npm or the registry, with that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.aimock.providers import PROVIDERS, Provider
from tests.aimock.server import HERE, Aimock, Unavailable, install
from tests.aimock.talk import Line, line

Open = Callable[[], AbstractAsyncContextManager[Line]]
"""Opens the line of a test: `async with open_line() as line`."""


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> None:
    """Skips the folder as a whole if nobody asked for it."""
    if not any(_is_here(argument, parent.config) for argument in parent.config.args):
        pytest.skip("needs npm's registry, so it runs only when asked for: python -m pytest tests/aimock")


def _is_here(argument: str, config: pytest.Config) -> bool:
    path = (config.invocation_params.dir / argument.partition("::")[0]).resolve()
    return path == HERE or HERE in path.parents


@pytest.fixture(scope="session")
def aimock(pytestconfig: pytest.Config) -> Iterator[Aimock]:
    """aimock with our fixtures, until the last test has ended."""
    cache = pytestconfig.cache
    assert cache is not None, "aimock is kept in pytest's cache: run without -p no:cacheprovider"
    try:
        program = install(cache.mkdir("aimock"))
    except Unavailable as reason:
        pytest.skip(str(reason))
    made = Aimock(program)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(params=PROVIDERS, ids=lambda p: p.id)
def provider(request: pytest.FixtureRequest) -> Provider:
    """Each provider API."""
    return request.param


@pytest.fixture(params=[True, False], ids=["streamed", "whole"])
def open_line(request: pytest.FixtureRequest, provider: Provider, aimock: Aimock) -> Open:
    """A line to each provider, streamed and not."""
    return _opener(provider, aimock, request.param, request.node.name)


@pytest.fixture
def open_stream(request: pytest.FixtureRequest, provider: Provider, aimock: Aimock) -> Open:
    """A line to each provider, streamed."""
    return _opener(provider, aimock, True, request.node.name)


def _opener(provider: Provider, aimock: Aimock, streamed: bool, test: str) -> Open:
    return lambda: line(provider, aimock, streamed, test)
