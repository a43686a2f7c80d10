"""What may be asked of a session beside its turns: what was said and what becomes of it, its settings, how it stands.

Each of these is a small story that is told elsewhere (`history_ops`, `changed`, `status`, `compact`, `follow_ups`); here they are
brought to the loop on which the session lives.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import UNSET, UnsetType

from ..core.compaction import Compaction, CompactReport
from ..core.content import Audio, BlobRef, Document, Image
from ..core.inputs_rare import ChangeSettings, UndoCompaction
from ..core.limits import Limits
from ..core.messages import Message
from ..core.principal import Principal
from ..core.search import SearchHit, search
from ..core.settings import SessionSettings
from ..core.usage import Usage
from ..models.connection import Model
from ..tools.context import Ctx
from . import follow_ups, history_ops
from .answering import Answering
from .artifacts import SessionArtifacts
from .attachments import Prompt, accept, kept
from .changed import Tools, changed
from .extensions import Extensions, extended_of
from .follow_ups import FollowUp
from .home import at_home
from .kept import Kept, kept_of, make_last
from .plan import INHERITED, Overrides, Wishes
from .status import SessionStatus, in_force, status_of

if TYPE_CHECKING:
    from ..core.audit import AuditKind, AuditRecord
    from ..core.budgets import BudgetStatus
    from ..core.store import Store
    from ..store.scopes import State
    from .capabilities.capability import Capability
    from .extensions import Registration

C = TypeVar("C", bound="Capability")


class Surface(Answering[Ctx]):
    """The part of a session that does not run turns."""

    __slots__ = ()

    # --- what was said ----------------------------------------------------------------------------------------------

    @property
    def messages(self) -> tuple[Message, ...]:
        """The transcript: what the next request will send. Always valid, also while a turn runs."""
        return tuple(self.state.transcript)

    @property
    def history(self) -> tuple[Message, ...]:
        """All that was said and not taken back, whatever compactions have left out of `messages`."""
        return tuple(self.state.history)

    def search(self, wanted: str | re.Pattern[str]) -> list[SearchHit]:
        """Where a text (in any case) or pattern occurs in the history: in messages, arguments and results of calls."""
        change = self.state.change
        return search(self.state.history, wanted, change.covers, frozenset([m.call_id for m in change.masked]))

    async def undo(self) -> str | None:
        """Take back the last turn with all that it said; its input's text, to be edited and said again ("" if it had none), or None
        if there is no turn since the session was last cleared. Raises `SessionBusy` while a turn runs or is parked."""
        return await at_home(self, lambda: history_ops.undo(self))

    async def rewind(self, to: int) -> None:
        """Take back everything after turn number `to` (`TurnResult.turn`), compactions and clearings included; 0 takes back all turns.
        Numbers are never given again. Raises `ConfigError` (`invalid_value`) for a turn that there never was, `SessionBusy`."""
        return await at_home(self, lambda: history_ops.rewind(self, to))

    async def clear(self) -> None:
        """Begin the conversation anew: nothing that was said so far is sent any more. Totals of tokens and cost go on; history and
        journal keep everything. Raises `SessionBusy` while a turn runs or is parked."""
        return await at_home(self, lambda: history_ops.clear(self))

    async def compact(self) -> CompactReport:
        """Make the conversation shorter for the model now, by half or more if it can be, with the strategies of `Agent(compaction=…)`.

        A running turn goes on meanwhile, and input that arrives is kept; the change holds from the next model call on, unless another
        one came first. What failed is in the report and leaves the conversation as it was. Raises `ConfigError` if the model
        cannot be asked, and what `steer` and `run` raise for a session that is gone. Cancelling it drops what is under way.
        """
        from .compact import by_hand

        return await self.on_its_loop(lambda: by_hand(self))

    async def undo_compaction(self) -> bool:
        """Take back the last compaction; the model is sent what it had replaced. False if there is none (since `clear`)."""
        return await self.apply(UndoCompaction())

    async def artifact(self, which: BlobRef | str) -> bytes:
        """The whole text of a result that was too long for the model, in UTF-8: by `ToolResult.artifact`, or by the call's id or
        the text's sha256. Raises `SessionError` (`unknown_artifact`), `StateError` (`missing_blob`)."""
        return await SessionArtifacts(self).data(which)

    def open_artifact(self, which: BlobRef | str) -> AsyncIterator[bytes]:
        """The same, piece by piece: `async for piece in session.open_artifact(id): …`. What does not fit into memory can be read so, where
        the store gives it piece by piece. Any `BlobRef` will do, those of attachments too. The first step raises what `artifact`
        raises; the last one, `StateError` (`damaged_blob`)."""
        return SessionArtifacts(self).pieces(which)

    async def attach(
        self, data: bytes | AsyncIterator[bytes], media_type: str, name: str = "file"
    ) -> Image | Audio | Document:
        """Put a picture, sound or PDF into the session's blob store, whole or as its bytes come in; a block for prompts: `session.run([
        "What is this?", block])`. The same bytes are kept once. Raises `ConfigError` (`unsupported_file`), what `data` raises (then nothing
        is kept), and what the blob store raises (`StateError`: `blob_too_large`)."""
        return await at_home(self, lambda: self._attach(data, media_type, name))

    async def _attach(self, data: bytes | AsyncIterator[bytes], media_type: str, name: str) -> Image | Audio | Document:
        await self._bind()
        return await kept(data, media_type, name, self)

    # --- what is kept -------------------------------------------------------------------------------------------------

    @property
    def kept(self) -> Kept:
        """What is kept of the session at this moment, and where; `str()` says it in a sentence."""
        return kept_of(self)

    async def persist(
        self,
        name: str | None = None,
        *,
        store: Store | None = None,
        title: str = "",
        tags: Iterable[str] = (),
        folder: str = "",
    ) -> Kept:
        """Keep a session after all that was in memory only: its journal, all bytes that it refers to, and its state are copied into `store`
        (default: its agent's), and it goes on there. When this returns they are durable; a failure leaves all as it was.

        Raises `SessionBusy` while a turn runs (a parked one is copied, too), `ConfigError` (`no_store`, `already_kept`), `StateError`
        (`name_taken`, `session_exists`, `missing_blob`).
        """
        return await make_last(self, name, store, title, tags, folder)

    # --- hooks ------------------------------------------------------------------------------------------------------

    def add_hook(self, hook: object) -> Registration:
        """A hook of this session alone, from its next step on, and what takes it away again; see `turnwise.hooks`. Raises `ConfigError`
        (`bad_hook`, `unknown_point`, `unhonoured_result`)."""
        if self.extension is None:
            self.extension = Extensions(f"session:{self.id}")
        return self.extension.register(hook)

    async def hook_close(self) -> None:
        """Have hooks see the end of the session."""
        if self.bound and extended_of(self) is not None:
            from .hooks.at_turn import session_ended

            await session_ended(self)

    # --- settings and state ---------------------------------------------------------------------------------------------

    async def set(
        self,
        *,
        instructions: str | UnsetType | None = UNSET,
        tools: Tools | UnsetType | None = UNSET,
        model: str | Model | UnsetType | None = UNSET,
        max_output_tokens: int | UnsetType | None = UNSET,
        temperature: float | UnsetType | None = UNSET,
        top_p: float | UnsetType | None = UNSET,
        stream: bool | UnsetType | None = UNSET,
        context_limit: int | UnsetType | None = UNSET,
        compaction: Compaction | bool | UnsetType | None = UNSET,
        by: Principal | None = None,
    ) -> SessionSettings:
        """Change settings from the next model call on, in a running turn as well; what then holds. None goes back to what the agent
        says, what is left out stays. `by` is who changes them, for the audit (default: the session's principal).

        A `model` takes the place of the agent's and of its fallbacks; if only named, it is reached as the agent reaches its
        models of that provider. `tools` are functions, `Tool`s, or names of the agent's. `context_limit` is in tokens. What does
        not hold for this model, or makes no sense, raises `ConfigError` before anything is journalled.
        """
        given = {
            "instructions": instructions,
            "tools": tools,
            "model": model,
            "max_output_tokens": max_output_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "stream": stream,
            "context_limit": context_limit,
            "compaction": compaction,
        }
        known = {name: value for name, value in given.items() if value is not UNSET}
        return await self._change(lambda: changed(self.agent, self.overrides, known), by)

    async def add(self, capability: Capability, *, by: Principal | None = None) -> SessionSettings:
        """Have a capability in this session, too, from the next model call on, in a running turn as well; what then holds. It is journalled by
        its name: whoever opens the session again needs an agent that has it. Raises `ConfigError` (`capability_conflict`) before anything is
        journalled."""
        from .capabilities.in_session import added

        return await self._change(lambda: added(self.agent, self.overrides, capability), by)

    async def remove(self, which: str | type[Capability], *, by: Principal | None = None) -> SessionSettings:
        """Do without a capability from the next model call on, by its name or class; also one of the agent's. What it has in its state stays.
        Raises `ConfigError`: `unknown_capability`; `capability_conflict` if another one requires it."""
        from .capabilities.in_session import removed

        return await self._change(lambda: removed(self.agent, self.overrides, which), by)

    @overload
    def capability(self, which: type[C]) -> C: ...
    @overload
    def capability(self, which: str) -> Capability: ...
    def capability(self, which: str | type[Capability]) -> Capability:
        """The capability of that class or name that this session has. Raises `ConfigError` (`unknown_capability`)."""
        from .capabilities.composing import find
        from .capabilities.in_session import in_force

        return find(in_force(self.agent, self.overrides), which, "The session")

    async def _change(self, make: Callable[[], Overrides], by: Principal | None) -> SessionSettings:
        """Have other settings, if a turn can be planned with them."""

        def change() -> ChangeSettings:
            overrides = make()
            self.agent.plan(Wishes(watched=False, overrides=overrides), self.runtime)
            self.overrides = overrides
            return ChangeSettings(overrides.settings, by)

        await self.apply(change)
        return self.settings

    @property
    def settings(self) -> SessionSettings:
        """What the next model call goes by: what was set here, else what the agent says, else what follows from the model. None:
        the provider's own default."""
        return in_force(self.agent, self.overrides)

    def status(self) -> SessionStatus:
        """How the session stands: context, usage, and what it is doing right now."""
        return status_of(self)

    async def audit(
        self,
        *,
        since: float | None = None,
        kind: AuditKind | None = None,
        tool: str | None = None,
        who: Principal | None = None,
    ) -> list[AuditRecord]:
        """What was decided in the session, by whom and by which rule, in order: verdicts of policies, approvals, denials, what hooks
        changed or refused, settings (rule P4). `since` is in Unix seconds. See docs/audit.md. Raises what reading the journal raises."""
        from ..core.audit import Wanted
        from .audit.reading import of_session

        return await of_session(self, Wanted(since, None, kind, tool, who))

    @property
    def scopes(self) -> State:
        """What tools and programs remember outside the transcript: `session.scopes.session`, `.agent`, `.user`, `.global_`. A tool's own
        way there is `context.state`. See `State`; `undo` and `rewind` take nothing of it back."""
        from .scoped_state import state_of

        return state_of(self)

    async def budgets(self) -> tuple[BudgetStatus, ...]:
        """How the budgets stand that the session's turns share with others, as far as is known here; what they hold for is in docs/limits.md.
        Raises `StateError` (`budget_unreadable`)."""
        from .budgets.purse import statuses

        return await at_home(self, lambda: statuses(self))

    @property
    def usage(self) -> Usage:
        """Tokens of all turns so far, failed attempts included."""
        return self.state.usage

    # --- for after the turn ---------------------------------------------------------------------------------------------

    async def follow_up(
        self,
        prompt: Prompt,
        *,
        context: Ctx | None = None,
        limits: Limits | None = None,
        client_ref: str | None = None,
    ) -> FollowUp:
        """Say something for after the running turn. When that ends well (`completed`, `stopped`, `limit`, `loop`), a turn of its own
        begins by itself, in a task of the runtime; with nothing running, at once. Returns a handle once it is durable:
        `await handle.result()`.

        After any other end (`interrupted`, `timeout`, `error`), and while a turn is parked, the queue waits: the next turn that
        ends well goes on with it, and so does the next `follow_up`. Closing the session leaves it unsaid.
        """
        self._refuse_if_gone()
        wishes = Wishes(self._context_for(context), limits, watched=False, client_ref=client_ref)

        async def queued() -> FollowUp:
            return await follow_ups.queue(self, await self._accepted(prompt), wishes)

        return await at_home(self, queued)

    @property
    def follow_ups(self) -> tuple[str, ...]:
        """The texts of the follow-ups that wait, the next one first."""
        return tuple([queued.message.text for queued in self.state.queue])

    async def drop_follow_ups(self) -> int:
        """Take all follow-ups out of the queue; how many there were."""
        return await at_home(self, lambda: follow_ups.drop(self))

    async def _accepted(self, prompt: Prompt) -> Any:
        await self._bind()
        return await accept(prompt, self, self.open_file)

    def _context_for(self, given: Ctx | None) -> Any:
        """The caller's object for a turn: the one given, the session's, or that of the turn whose tool is calling."""
        if given is not None:
            return given
        return self.context if self.context is not None else INHERITED.get()
