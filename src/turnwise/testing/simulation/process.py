"""One simulated process: a loop, a real `Runtime` with simulated seams, its agents, and the people who are using it.

It ends in one of two ways: everybody has left and it is closed, and then nothing may be left of it; or it is dropped in the middle of
whatever it does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ...core.compaction import Compaction
from ...core.limits import Deadlines, Limits
from ...models.connection import Model
from ...runtime.agent import Agent
from ...runtime.runtime import Runtime
from ...runtime.sessions import Sessions
from ...store.memory import MemoryJournals
from ...wire.serve import serve_codec
from .journals import Violation
from .loop import SimulatedLoop
from .onlookers import all_seen, look_on
from .plan import SessionPlan
from .provider import HOST, Network
from .tools import TOOLS, Inline, NoChildren, approve

if TYPE_CHECKING:
    from .world import World

DEADLINES = Deadlines(connect_s=10.0, first_byte_s=30.0, idle_s=20.0, turn_s=300.0, grace_s=5.0)
LEASE_S = 30.0
RECOVER_EVERY_S = 20.0
HOOKS_S = 15.0
"""Longer than any chain of hooks may take."""

_AWS: dict[str, Any] = {
    "bedrock_region": "eu-central-1",
    "bedrock_access_key_id": "AKIDEXAMPLE",
    "bedrock_secret_access_key": "a-secret",
}
_KEY: dict[str, Any] = {"api_key": "test"}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "anthropic": ("anthropic.messages", "claude-sonnet-4-5", _KEY),
    "openai": ("openai.chat", "gpt-5-mini", _KEY),
    "openai-responses": ("openai.responses", "gpt-5-mini", _KEY),
    "gemini": ("gemini.generateContent", "gemini-3-pro-preview", _KEY),
    "vertex": (
        "vertex.generateContent",
        "gemini-2.5-pro",
        {"vertex_token": "a-token", "vertex_project": "p", "vertex_location": "global"},
    ),
    "cohere": ("cohere.v2.chat", "command-a-03-2025", _KEY),
    "bedrock": ("bedrock.converse", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", _AWS),
    "ollama": ("ollama.chat", "qwen3", {}),
}
"""A model of each API, and what its connection needs."""


def model_at(api: str, host: str) -> Model:
    """A model of this API at a host of the simulated network."""
    served, name, connection = MODELS[api]
    return Model(f"{api}:{name}", base_url=f"http://{host}{HOST}{serve_codec(served).base}", **connection)


def other_model(api: str, host: str) -> str:
    """The same as a name that says all there is to know: it is stored with the session's settings, and must be enough for the next process."""
    served, name, _ = MODELS[api]
    return f"{api}:{name}@http://{host}{HOST}{serve_codec(served).base}"


OTHERS = ("anthropic", "openai", "openai-responses", "gemini", "cohere", "ollama")
"""The APIs that people change to."""
ENVIRON: dict[str, str] = dict.fromkeys(("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "CO_API_KEY"), "test")


def name_of(callback: Any) -> str:
    """What a timer would call, in words."""
    function = getattr(callback, "func", callback)
    return "(cancelled)" if callback is None else str(getattr(function, "__qualname__", type(function).__name__))


class Clock:
    """The clocks of one process; its wall clock may be wrong."""

    def __init__(self, loop: SimulatedLoop, epoch: float) -> None:
        self._loop = loop
        self._epoch = epoch

    def monotonic(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return self._epoch + self._loop.time()


class Process:
    """`slot` is its place in the world, `number` counts all processes there have been."""

    def __init__(self, world: World, slot: int, number: int) -> None:
        from .world import EPOCH

        self.world = world
        self.slot = slot
        self.number = number
        self.name = f"p{slot}.{number}"
        self.loop = SimulatedLoop(world.time, self._complain)
        self.loop.home = self
        self.network = Network(world.provider, self.loop)
        self.store = world.stores.for_process(self)
        self.runtime = Runtime(
            clock=Clock(self.loop, EPOCH + world.plan.skews[slot]),
            random=world.draw(f"chance/{number}"),
            ids=world,
            transport=self.network,
            blocking=Inline(self.loop, world.draw(f"blocking/{number}")),
            spawn=NoChildren(),
            store=self.store,
            environ=dict(ENVIRON),
            lease_s=LEASE_S,
        )
        self.agents = {plan.name: self._agent(plan) for plan in world.plan.sessions}
        self.delegate = Agent(
            model_at("openai", "delegate"),
            name="delegate",
            deadlines=DEADLINES,
            runtime=self.runtime,
            store=MemoryJournals(),
        )
        """Who does what a tool hands on."""
        self.sessions: Sessions | None = None
        self.over = False
        self.closing = False

    def _complain(self, said: str) -> None:
        self.world.complain(f"{self.name}: {said}")

    def _agent(self, plan: SessionPlan) -> Agent[Any]:
        hosts = [f"{plan.name}-{n}" for n in range(len(plan.apis))]
        for host in hosts:
            self.world.provider.hosts[host] = plan.name
        return Agent(
            models=[model_at(api, host) for api, host in zip(plan.apis, hosts, strict=True)],
            instructions="Be brief.",
            tools=TOOLS,
            name=plan.name,
            limits=Limits(),
            deadlines=DEADLINES,
            restart=plan.restart,
            compaction=Compaction(),
            approvals=approve,
            runtime=self.runtime,
            **self._extensions(plan.name),
        )

    def _extensions(self, name: str) -> dict[str, Any]:
        extended = self.world.extended.get(name)
        return {} if extended is None else {"hooks": extended.hooks(), "middleware": extended.middleware()}

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run."""
        self.loop.create_task(self._main())

    async def _main(self) -> None:
        try:
            await self._live()
        except Violation as violation:
            self.world.fail(violation)
        except Exception as error:
            self.world.fail(Violation("unexpected", f"{self.name}: {type(error).__name__}: {error}"))
        self.over = True
        self.world.look_round()

    async def _live(self) -> None:
        world = self.world
        self.runtime.bind()
        if world.plan.store != "memory":
            self.sessions = Sessions(
                self.store,
                list(self.agents.values()),
                runtime=self.runtime,
                recover_every_s=RECOVER_EVERY_S,
                contexts=lambda _: world.ledger,
            )
            await self.sessions.__aenter__()
        mine = [person for n, person in enumerate(world.people) if n % world.plan.processes == self.slot]
        living = [self.loop.create_task(person.live(self)) for person in mine if not person.done]
        watching = [
            self.loop.create_task(look_on(self, name)) for slot, name in world.plan.onlookers if slot == self.slot
        ]
        for one in living:
            await one
        if self.sessions is not None:
            await all_seen(self)
        await self._close(watching)

    async def _close(self, watching: list[asyncio.Task[None]]) -> None:
        """Everybody has left: close what was opened, and look whether anything is left (C2, I3)."""
        self.closing = True
        if self.sessions is not None:
            await self.sessions.close()
        for one in watching:
            await asyncio.wait((one,))
        # A snapshot may be on its way yet, and hooks that only watch the end of a turn: a session does not wait for those, but they are bounded.
        await asyncio.sleep(HOOKS_S if self.world.extended else 1.0)
        timers = len(self.runtime.timers) - len(self.runtime.leases)  # a lease's own runs out by itself
        if timers > 0 and not self.runtime.abandoned_bodies:
            whose = sorted([name_of(timer.callback) for timer in self.runtime.timers._heap])  # pyright: ignore[reportPrivateUsage]
            raise Violation("leftovers", f"{self.name}: all sessions are closed, and timers wait: {', '.join(whose)}")
        await self.runtime.close()
        for _ in range(5):
            await asyncio.sleep(0)
        self._look_round()

    def _look_round(self) -> None:
        left = [task for task in self.loop.tasks() if task is not asyncio.current_task(self.loop)]
        abandoned = self.runtime.abandoned_bodies
        left = [task for task in left if task not in abandoned]
        if left:
            names = sorted([getattr(task.get_coro(), "__qualname__", "?") for task in left])
            raise Violation("leftovers", f"{self.name} is closed, and these tasks are left: {', '.join(names)}")
        if self.network.open_responses:
            raise Violation(
                "leftovers", f"{self.name} is closed, and {len(self.network.open_responses)} responses are open"
            )
        if not abandoned and (timers := self.world.time.timers_of(self.loop)):
            raise Violation("leftovers", f"{self.name} is closed, and timers are left: {', '.join(timers)}")

    def has_lost(self, session: str) -> bool:
        """Whether this process has let go of a session by itself: an append of it failed."""
        found = None if self.sessions is None else self.sessions.get(session)
        return found is None or found.lost is not None or not found.running or session in self.store.failed

    def drop(self) -> None:
        """The process is gone."""
        self.loop.drop()
