"""What plugins have added to a runtime, each with the way to take it back. Where it goes to is known here and nowhere else in this room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, cast

from ...core.errors import config_error
from ...tools import Tool, tool

if TYPE_CHECKING:
    from ..runtime import Runtime

Kind = Literal["tool", "capability", "hook", "middleware", "subscription"]


class Added:
    """Something that a plugin has added. It is taken back when the plugin stops, or by `unregister`."""

    __slots__ = ("_settle", "_undo", "kind", "name")

    def __init__(
        self,
        kind: Kind,
        name: str,
        undo: Callable[[], object],
        settle: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`settle` waits until what it has been given so far is dealt with."""
        self.kind: Kind = kind
        self.name = name
        self._undo: Callable[[], object] | None = undo
        self._settle = settle

    @property
    def active(self) -> bool:
        """Whether it is there still."""
        return self._undo is not None

    async def settle(self) -> None:
        """Let it take nothing more, and deal with what it has."""
        if self._settle is not None and self._undo is not None:
            await self._settle()

    def unregister(self) -> None:
        """Take it back now. Idempotent."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()


class Offered:
    """The tools and capabilities that agents of a runtime may take from its plugins, with the plugin that each is of. `version` grows with
    each change."""

    __slots__ = ("capabilities", "tools", "version")

    def __init__(self) -> None:
        self.version = 0
        self.tools: dict[str, tuple[str, Tool[..., Any]]] = {}
        self.capabilities: list[tuple[str, Any]] = []

    def add_tool(self, plugin: str, given: Tool[..., Any] | Callable[..., Any]) -> Added:
        made = cast("Tool[..., Any]", given) if isinstance(given, Tool) else tool(given)
        other = self.tools.get(made.name)
        if other is not None:
            raise config_error(
                "duplicate_tool",
                f"The plugins {other[0]} and {plugin} both have a tool named {made.name!r}.",
                "Disable one of them, or give one tool another name: @tool(name=…).",
            )
        self.tools[made.name] = (plugin, made)
        self.version += 1
        return Added("tool", made.name, lambda: self._remove_tool(made.name))

    def add_capability(self, plugin: str, capability: Any) -> Added:
        entry = (plugin, capability)
        self.capabilities.append(entry)
        self.version += 1
        return Added("capability", str(capability.name), lambda: self._remove_capability(entry))

    def _remove_tool(self, name: str) -> None:
        del self.tools[name]
        self.version += 1

    def _remove_capability(self, entry: tuple[str, Any]) -> None:
        self.capabilities.remove(entry)
        self.version += 1


# --- the other rooms --------------------------------------------------------------------------------------------------


def add_hook(runtime: Runtime, hook: Any) -> Added:
    """A hook on all turns of the runtime."""
    return Added("hook", _label(hook), runtime.add_hook(hook).unregister)


def add_middleware(runtime: Runtime, middleware: Any) -> Added:
    """Around all turns, model calls or tool calls of the runtime, inside of what is there."""
    return Added("middleware", _label(middleware), runtime.extensions.add_middleware(middleware))


def subscribe(
    runtime: Runtime, pattern: str | Iterable[str], handler: Callable[..., Any], options: dict[str, Any]
) -> Added:
    """A subscription to the runtime's bus."""
    name = pattern if isinstance(pattern, str) else ", ".join(pattern)
    subscription = runtime.bus.subscribe(pattern, handler, **options)
    return Added("subscription", name, subscription.close, subscription.drain)


def _label(given: Any) -> str:
    return str(getattr(given, "id", None) or getattr(given, "__qualname__", None) or type(given).__name__)


def tell(runtime: Runtime, name: str, data: dict[str, Any]) -> None:
    """Publish what became of a plugin, if anybody uses the bus."""
    runtime.tell_bus(f"plugin.{name}", data)
