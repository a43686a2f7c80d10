"""Inputs that begin no turn: folded on the loop that the session lives on, and acknowledged when they are durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..core.errors import error_of
from ..core.inputs import (
    Input,
)
from ..tools.context import Ctx
from .actor import Actor
from .home import at_home

T = TypeVar("T")


class Applying(Actor[Ctx]):
    """The part of a session that takes inputs from anywhere."""

    __slots__ = ()

    async def apply(self, given: Input | Callable[[], Input]) -> bool:
        """Fold an input that begins no turn, and wait until what came of it is durable; False if nothing came of it. An input that
        depends on the state is given as a function, called when it is folded.

        Callable from any task of any loop: it is done on the one that the session lives on. Raises `SessionClosed`,
        `SessionForked`, and `StateError` if the journal cannot be written. Cancelling it takes nothing back.
        """
        return await self.on_its_loop(lambda: self._apply(given))

    async def _apply(self, given: Input | Callable[[], Input]) -> bool:
        if not self.fold(given() if callable(given) else given):
            if self._lost is not None:
                raise error_of(self._lost)
            return False
        self.advance()
        await self.until_durable()
        return True

    async def on_its_loop(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something that begins no turn, on the loop that the session lives on. Raises as `apply`."""
        self._refuse_if_gone()

        async def bound() -> T:
            await self._bind()
            if self._lost is not None and self._turn is None:
                await self._reload(self.agent.deadlines.grace_s)
            self._refuse_if_gone()
            return await work()

        return await at_home(self, bound)

    async def until_durable(self) -> None:
        """Wait until all that was folded is durable."""
        while self._appending is not None:
            await asyncio.wait((self._appending,))
        if self._lost is not None:
            raise error_of(self._lost)
