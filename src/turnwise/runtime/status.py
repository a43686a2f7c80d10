"""How a session stands: a snapshot for people and programs. Reading it changes nothing and asks nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..core.compaction import in_force as compaction_in_force
from ..core.request import ModelSettings
from ..core.result import Pending
from ..core.settings import AGENTS_OWN, SessionSettings
from ..core.state import CallState
from ..core.usage import Usage
from ..models.connection import Model
from ..models.handle import BOUNDED, parts_of
from ..models.hosts import HOSTS
from ..wire.claude_head import DEFAULT_MAX_TOKENS
from .plan import Overrides
from .said import AttemptPhase

if TYPE_CHECKING:
    from ..models.catalogue_table import Row
    from .actor import Actor
    from .agent import Agent

TurnPhase = Literal["", "queued", "opening", "model", "tools", "parked", "ending"]
"""No turn; one that waits for a place among others; one that is being prepared; waiting for the model; for tools; for someone; for the clean-up and the journal."""
CallPhase = Literal["queued", "running", "waiting", "done"]
"""A call waits for a free place, runs, waits for someone, or has its outcome, while others of its step do not."""


class OpenCall(msgspec.Struct, frozen=True):
    """A call of the step under way."""

    call_id: str
    name: str
    phase: CallPhase


class SessionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a session stands.

    `messages` is how many the next request would send, `history` how many there are behind it; `turns` counts turns, taken back ones
    included. `context_tokens` is what the conversation took at the last response, `context_limit` what the model reads (None: not
    known), `context_share` the one by the other. `usage` adds up all attempts of the session, `last_usage` is of the last
    response. `turn` is the number of the turn that runs or is parked. `created_at` is in Unix seconds.
    """

    id: str
    model: str
    created_at: float
    messages: int
    history: int
    turns: int
    requests: int
    usage: Usage
    last_usage: Usage | None
    context_tokens: int | None
    context_limit: int | None
    turn: int | None
    phase: TurnPhase
    step: int
    attempt: int
    attempt_phase: AttemptPhase
    calls: tuple[OpenCall, ...]
    pending: tuple[Pending, ...]
    follow_ups: int
    closed: bool

    @property
    def context_share(self) -> float | None:
        """The part of the context that is used; None if it is not known."""
        return self.context_tokens / self.context_limit if self.context_tokens and self.context_limit else None

    @property
    def cost_usd(self) -> float | None:
        """What all attempts have cost; None if no price is known."""
        return self.usage.cost_usd

    @property
    def last_cost_usd(self) -> float | None:
        """What the last response has cost."""
        return None if self.last_usage is None else self.last_usage.cost_usd


def status_of(session: Actor[Any]) -> SessionStatus:
    """How a session stands at this moment."""
    state = session.state
    model = _model(session.agent, session.overrides)
    current = state.turn if state.running else None
    return SessionStatus(
        id=state.id,
        model=model.name,
        created_at=state.created_at,
        messages=len(state.transcript),
        history=len(state.history),
        turns=state.turns,
        requests=state.requests,
        usage=state.usage,
        last_usage=state.last_usage,
        context_tokens=state.context_tokens,
        context_limit=context_limit(model, state.settings),
        turn=None if current is None else current.number,
        phase=_phase(session),
        step=0 if current is None else current.step,
        attempt=0 if current is None else current.attempt,
        attempt_phase="" if session.turn is None else session.turn.attempt_phase,
        calls=() if current is None else tuple([_call(c) for c in current.awaited]),
        pending=() if current is None else current.pending,
        follow_ups=len(state.queue),
        closed=session.closed,
    )


def _phase(session: Actor[Any]) -> TurnPhase:
    turn, current = session.turn, session.state.turn
    if turn is not None and not turn.opened:
        return "queued" if session.keeper is not None and session.keeper.waits(turn) else "opening"
    if current is None or current.phase in ("ended", "done"):
        return "" if turn is None else "ending"
    return current.phase


def _call(call: CallState) -> OpenCall:
    if call.result is not None:
        phase: CallPhase = "done"
    elif call.waits is not None:
        phase = "waiting"
    else:
        phase = "running" if call.started else "queued"
    return OpenCall(call.call.id, call.call.name, phase)


# --- what is in force -------------------------------------------------------------------------------------------------


def in_force(agent: Agent[Any], overrides: Overrides | None) -> SessionSettings:
    """The settings that the next model call goes by: the session's own, else the agent's, else what follows from the model."""
    said = AGENTS_OWN if overrides is None else overrides.settings
    model = _model(agent, overrides)
    own = model.settings or agent.settings
    stream = _first(said.stream, agent.streams)
    tools = agent.tools if overrides is None or overrides.tools is None else overrides.tools
    return SessionSettings(
        agent.instructions if overrides is None or overrides.instructions is None else overrides.instructions,
        tuple(sorted(tools)),
        model.name,
        _first(said.max_output_tokens, own.max_output_tokens, most_output(model, own, stream)),
        _first(said.temperature, own.temperature),
        _first(said.top_p, own.top_p),
        stream,
        context_limit(model, said),
        compaction_in_force(agent.compaction, said.compaction) or False,
        _capabilities(agent, overrides),
    )


def _capabilities(agent: Agent[Any], overrides: Overrides | None) -> tuple[str, ...] | None:
    """Their names; None without any. Their room is not entered for that."""
    if not agent.capabilities and (overrides is None or overrides.parts is None):
        return None
    from .capabilities.capability import name_of
    from .capabilities.in_session import in_force

    return tuple([name_of(one) for one in in_force(agent, overrides)])


def context_limit(model: Model, settings: SessionSettings) -> int | None:
    """How much the model reads, in tokens; None if that is not known."""
    if settings.context_limit is not None:
        return settings.context_limit
    row = _row(model)
    return None if row is None else row.context_window


def most_output(model: Model, settings: ModelSettings, streamed: bool) -> int | None:
    """What bounds the output if the settings do not: as much as the model can say; None if that is not known."""
    from ..models.known import output_bound

    provider, name, _ = parts_of(model)
    host = HOSTS.get(provider)
    if host is None or host.api not in BOUNDED:
        row = _row(model)
        return None if row is None else row.max_output_tokens
    return output_bound(provider, name, settings, streamed=streamed) or DEFAULT_MAX_TOKENS


def _model(agent: Agent[Any], overrides: Overrides | None) -> Model:
    return agent.models[0] if overrides is None or overrides.models is None else overrides.models[0]


def _row(model: Model) -> Row | None:
    from ..models.known import row_of

    provider, name, _ = parts_of(model)
    return row_of(provider, name)


def _first(*values: Any) -> Any:
    return next((v for v in values if v is not None), None)
