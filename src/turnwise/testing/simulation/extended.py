"""What a session with hooks and middleware is held to: what they gave in place of what was said, and what may not happen since they have refused it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.messages import AssistantMessage
from ...core.state import SessionState
from .extensions import Extension
from .given import Given, Where, model_name
from .journals import Violation
from .plan import ExtensionPlan, SessionPlan

if TYPE_CHECKING:
    from .provider import Said
    from .world import World


class Extended:
    """A session with extensions. `acted` counts what they did, by kind."""

    def __init__(self, world: World, plan: SessionPlan) -> None:
        self.world = world
        self.name = plan.name
        self.apis = plan.apis
        self.every = [Extension(self, one) for one in plan.extensions]
        self.given: dict[Where, list[Given]] = {}
        self.refused: dict[Where, str] = {}
        """Steps whose answer may not be taken, since this hook has refused it."""
        self.blocked: dict[tuple[str, str, str], str] = {}
        """Calls that may not run in a process, since this hook or middleware has refused them."""
        self.unsent: dict[str, tuple[int, int, int, str]] = {}
        """The turn, step and attempt of each session that no request may be sent for, since this hook has refused it."""
        self.repeats: set[str] = set()
        """Calls that a hook wants to run again."""
        self.closed: dict[tuple[int, str], float] = {}
        """Sessions that were closed in a process, and when: no hook may be asked about them there until they are opened. Chains that only watch go on."""
        self.caches = False
        self._texts = {answer.text for turn in plan.turns for answer in turn.answers}
        """What may come out of a cache."""
        self._texts |= {text.upper() for text in self._texts} | {"So be it.", "SO BE IT."}
        self._numbered = 0

    def hooks(self) -> list[Any]:
        """Those of the agent, for a new process."""
        return [one.as_hook() for one in self.every if one.plan.is_hook]

    def middleware(self) -> list[Any]:
        """The same."""
        return [one.as_middleware() for one in self.every if not one.plan.is_hook]

    def another(self, plan: ExtensionPlan) -> Extension:
        """A hook that is registered in the middle of a session."""
        self._numbered += 1
        return Extension(self, msgspec.structs.replace(plan, name=f"{plan.name}-{self._numbered}"))

    # --- what follows -------------------------------------------------------------------------------------------------

    def gives(self, where: Where, given: Given) -> None:
        self.given.setdefault(where, []).append(given)

    def gave(self, session: str, message: AssistantMessage, said: Said | None) -> bool:
        """Whether an extension gave this answer; else it must be what the provider said."""
        where = session, message.turn, message.step
        if (by := self.refused.get(where)) is not None:
            raise Violation("H2", f"{self.name}: {message.turn}.{message.step} is committed, and {by} has refused it")
        given = self.given.get(where, ())
        louder = any(one.louder for one in given)
        if any(one.fits(message, said) or (louder and one.louder_too().fits(message, said)) for one in given):
            if self.caches:
                self._texts.add(message.text)
            return True
        usage = message.usage
        return self.caches and (usage is None or usage.provenance == "unsent") and message.text in self._texts

    def other_model(self, draw: Random) -> str:
        """The name of a model of the agent's."""
        return model_name(draw.choice(self.apis))

    def asks(self, state: SessionState) -> None:
        """A request is sent for a session in this state."""
        refused, turn = self.unsent.get(state.id), state.turn
        if refused is not None and turn is not None and refused[:3] == (turn.number, turn.step, turn.attempt):
            what = f"attempt {turn.number}.{turn.step}.{turn.attempt} is sent, and {refused[3]} has refused it"
            raise Violation("H2", f"{self.name}: {what}")

    def begins(self, process: str, session: str, call_id: str) -> None:
        """The body of a call begins."""
        if (by := self.blocked.get((process, session, call_id))) is not None:
            raise Violation("H2", f"{self.name}: {call_id} runs, and {by} has refused it")
        # It was let through here. Another process that goes on with it runs it as the journal has it, whatever was said there before.
        for where in [key for key in self.blocked if key[1:] == (session, call_id)]:
            del self.blocked[where]
