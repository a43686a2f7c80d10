"""`Todo`: a list of what is to be done, which the model keeps and the program can read and write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from ...store.shapes import StateKey
from ...tools import ToolContext, tool
from .capability import Capability, HasScopes, HasState

MAX_ITEMS = 200
_SIGNS = {"open": "[ ]", "doing": "[~]", "done": "[x]"}


class TodoItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing to do."""

    text: str
    status: Literal["open", "doing", "done"] = "open"


ITEMS = StateKey("items", list[TodoItem])


class Todo(Capability):
    """A list of things to do, kept in the session's state: it survives compaction and restarts. The model writes it with `write_todos` and
    reads it with `read_todos`; programs use `items` and `write`."""

    name = "todo"
    instructions = (
        "Keep a list of what is to be done for anything that takes more than two steps: write it with write_todos before you begin, with "
        "one item `doing` at a time, and mark items `done` as soon as they are."
    )

    def __init__(self) -> None:
        super().__init__(
            tools=[
                tool(
                    self.write_todos,
                    idempotent=True,
                    resource="todo",
                    category="todo",
                    permission="write",
                    validate=_check,
                ),
                tool(self.read_todos, read_only=True, idempotent=True, resource="todo", category="todo"),
            ]
        )

    async def items(self, where: HasState | HasScopes) -> Sequence[TodoItem]:
        """The list, of a session or of the session whose tool is running."""
        return await self.state(where).session.get(ITEMS, default=list[TodoItem]())

    async def write(self, where: HasState | HasScopes, items: Iterable[TodoItem]) -> None:
        """Put another list in its place."""
        await self.state(where).session.set(ITEMS, list(items))

    async def write_todos(self, items: list[TodoItem], context: ToolContext[Any]) -> str:
        """Write the whole list of things to do; what was in it before is replaced."""
        await self.write(context, items)
        return shown(items)

    async def read_todos(self, context: ToolContext[Any]) -> str:
        """Read the list of things to do."""
        return shown(await self.items(context))


def _check(arguments: Any) -> str | None:
    items: list[TodoItem] = arguments.items
    if len(items) > MAX_ITEMS:
        return f"A list has at most {MAX_ITEMS} items, got {len(items)}."
    return next((f"Item {n} is empty." for n, item in enumerate(items, 1) if not item.text.strip()), None)


def shown(items: Iterable[TodoItem]) -> str:
    """The list for people and models, one item in a line."""
    return "\n".join([f"{_SIGNS[item.status]} {item.text}" for item in items]) or "The list is empty."
