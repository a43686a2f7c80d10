"""What somebody has added to a runtime, an agent or a session, and what a turn makes of all three: hooks and middleware.

Each of the three has one `Extensions`; a session has none until something is added to it alone. A turn looks at the three versions, and
compiles them into one `Extended` when they have changed. With nothing added anywhere that is None, and nothing else is looked at. What
hooks and middleware are, and how they run, is in the rooms `hooks` and `middleware`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

if TYPE_CHECKING:
    from ..core.inputs import CallModel
    from ..core.limits import Deadlines
    from ..core.outcomes import ToolResult
    from .attachments import Prompt
    from .attempt import Attempt
    from .body import Bodies
    from .ground import Ground
    from .hooks.chain import Chain
    from .hooks.hook import Hook
    from .job import Job
    from .plan import Begin, Target
    from .runtime import Runtime
    from .said import Asker
    from .turn import Turn


class Registration:
    """Something that was added, and the way to take it away again."""

    __slots__ = ("_remove",)

    def __init__(self, remove: Callable[[], None]) -> None:
        self._remove: Callable[[], None] | None = remove

    def unregister(self) -> None:
        """Take it away: it is not called any more, not even in what is under way (rule H4). Callable from anywhere, also from itself;
        idempotent."""
        remove, self._remove = self._remove, None
        if remove is not None:
            remove()


class Extensions:
    """What one owner has: its hooks and its middleware, in the order of registration. `version` grows with each change; 0 means that
    there was never anything."""

    __slots__ = ("__weakref__", "compiled", "hooks", "label", "middleware", "seen", "version")

    def __init__(self, label: str, hooks: Iterable[object] = (), middleware: Iterable[object] = ()) -> None:
        self.label = label
        """Whose they are, for lists: `runtime`, `agent:NAME`, `session:ID`."""
        self.version = 0
        self.hooks: tuple[Hook, ...] = ()
        self.middleware: tuple[Any, ...] = ()
        self.seen: WeakSet[Extensions] | None = None
        """Of a runtime: those of the agents and sessions that have run in it."""
        self.compiled: tuple[_Key, Extended | None] | None = None
        """What `extended` made of it last, with those beside it, and of which state of all of them."""
        for hook in hooks:
            self.register(hook)
        for one in middleware:
            self.add_middleware(one)

    def register(self, hook: object) -> Registration:
        """Add a hook: a decorated function, or an object with methods for points. Raises `ConfigError`."""
        from .hooks.hook import hooks_of

        made = hooks_of(hook)
        self.hooks = (*self.hooks, *made)
        self.version += 1
        return Registration(lambda: self._remove_hooks(made))

    def add_middleware(self, middleware: Any) -> Callable[[], None]:
        """Add one, inside of those that are there; what is returned removes it again, once. Raises `ConfigError` (`not_middleware`)."""
        from .middleware.compose import kinds_of

        kinds_of(middleware)
        self.middleware = (*self.middleware, middleware)
        self.version += 1
        return lambda: self._remove_middleware(middleware)

    def copied(self) -> Extensions:
        """The same for another owner: what is added to one later, or taken from it, is not from the other. Hooks count anew."""
        made = Extensions(self.label)
        if self.hooks:
            from .hooks.hook import Hook

            made.hooks = tuple([Hook(one.id, one.point, one.spec, one.call) for one in self.hooks])
        made.middleware, made.version = self.middleware, self.version
        return made

    def _remove_hooks(self, gone: list[Hook]) -> None:
        for hook in gone:
            hook.live = False
        self.hooks = tuple([hook for hook in self.hooks if hook.live])
        self.version += 1

    def _remove_middleware(self, middleware: Any) -> None:
        left = tuple([one for one in self.middleware if one is not middleware])
        if len(left) != len(self.middleware):
            self.middleware = left
            self.version += 1


class Extended(NamedTuple):
    """What a turn runs with: a chain of hooks for each point that has any, and middleware by what it is around. The rest says where hooks have
    to be looked for: before calls, after them, when something is journalled."""

    hooks: Mapping[str, Chain]
    middleware: Mapping[str, Any]
    before_calls: bool = False
    after_calls: bool = False
    when_told: bool = False


_Key = tuple[Any, ...]


def extended_of(session: Ground[Any]) -> Extended | None:
    """What is added to this session, its agent and its runtime, compiled once for each change; None if there is nothing."""
    runtime, agent, own = session.runtime.extensions, session.agent.extensions, session.extension
    overrides = session.overrides
    bundled = session.agent.bundled if overrides is None or overrides.parts is None else overrides.parts.extensions
    if own is None and not runtime.version and not agent.version and not bundled:
        return None
    return extended(runtime, agent, own, bundled)


def extended(
    runtime: Extensions, agent: Extensions, own: Extensions | None = None, bundled: tuple[Extensions, ...] = ()
) -> Extended | None:
    """The three compiled, with those of capabilities (`bundled`, which do not change) between agent and session. It is kept with the nearest
    owner, so it goes when that one goes."""
    keeper = agent if own is None else own
    key: _Key = (runtime, runtime.version, agent, agent.version, own, 0 if own is None else own.version, *bundled)
    kept = keeper.compiled
    if kept is not None and kept[0] == key:
        return kept[1]
    owners = [one for one in (runtime, agent, *bundled, own) if one is not None]
    if runtime.seen is None:
        runtime.seen = WeakSet()
    runtime.seen.update(owners[1:])
    made = _compile(owners)
    keeper.compiled = key, made
    return made


def of_runtime(runtime: Extensions) -> Extended | None:
    """What is added to a runtime alone, for requests outside of sessions."""
    if not runtime.version:
        return None
    key: _Key = (runtime, runtime.version, runtime, runtime.version, None, 0)
    kept = runtime.compiled
    if kept is not None and kept[0] == key:
        return kept[1]
    made = _compile([runtime])
    runtime.compiled = key, made
    return made


def _compile(owners: list[Extensions]) -> Extended | None:
    hooks = [hook for owner in owners for hook in owner.hooks]
    middleware = [one for owner in owners for one in owner.middleware]
    if not hooks and not middleware:
        return None
    chains: Mapping[str, Chain] = _chains(hooks) if hooks else {}
    return Extended(
        chains,
        _composed(middleware) if middleware else {},
        "tool.before" in chains or "approval.requested" in chains,
        "tool.after" in chains or "tool.error" in chains,
        "error" in chains or "approval.answered" in chains,
    )


def _chains(hooks: list[Hook]) -> Mapping[str, Chain]:
    from .hooks.chain import chains_of

    return chains_of(hooks)


def _composed(middleware: list[Any]) -> Mapping[str, Any]:
    """They come outermost first."""
    from .middleware.compose import composed

    return composed(middleware)


# --- what is loaded with the first middleware ---------------------------------------------------------------------------


def wrapped(chain: Any, turn: Turn, asked: CallModel, target: Target) -> Attempt:
    """A turn's attempt of a model call with middleware around it."""
    from .middleware.model import WrappedAttempt

    session = turn.session
    return WrappedAttempt(chain, session, asked, target, turn.plan.deadlines, session.runtime, turn.answered)


def wrapped_alone(
    chain: Any, asker: Asker, asked: CallModel, target: Target, deadlines: Deadlines, runtime: Runtime
) -> Attempt:
    """The same for a request outside of a turn."""
    from .middleware.model import WrappedAttempt

    return WrappedAttempt(chain, asker, asked, target, deadlines, runtime)


async def enter(chain: Any, turn: Turn, opening: Prompt | Begin) -> Prompt | Begin:
    """Begin the middleware around a turn; what the turn begins with. Raises what refuses it."""
    from .middleware.turns import Wrapping

    wrapping = turn.wrapping = Wrapping(chain, turn.session, turn, opening)
    return await wrapping.enter()


async def run_wrapped(chain: Any, bodies: Bodies, turn: Turn, job: Job) -> ToolResult:
    """Run a call's body with middleware around it."""
    from .middleware.tools import run_wrapped

    return await run_wrapped(chain, bodies, turn, job)
