"""The audit of a session: what was decided in it, by whom and by which rule, read off its journal (rule P4).

Nothing is kept for it beside the journal: an `Auditor` is fed the entries in order and gives a record for each that says of something whether
it may be. What is bound to a call is bound to these very arguments by their fingerprint, which is of what they say, not of how it is written.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Literal

import msgspec

from .changes import ApprovalAnswered, CallWaiting, Decided, SettingsChanged
from .entries import CallOutcome, Entry, SessionCreated, StepCommitted
from .loops import canonical
from .outcomes import Denied, explain
from .principal import LOCAL, Principal
from .settings import AGENTS_OWN, SessionSettings

AuditKind = Literal["verdict", "approval", "denial", "hook", "middleware", "settings", "unreadable"]
"""What a record is of: a policy's verdict; a person who was asked, or answered; a call that was denied by neither (a limit, say); what a hook or
middleware decided; a change of settings; and what could not be read of a journal."""

AuditDecision = Literal[
    "allow", "ask", "deny", "failed",
    "asked", "allowed", "denied", "expired",
    "modify", "replace", "cancel", "retry", "redirect",
    "changed", "unreadable",
]  # fmt: skip
"""What was decided. Of a verdict: `allow`, `ask`, `deny`, `failed`; of an approval: `asked`, `allowed`, `denied`, `expired`."""


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision. `entry` is the number of its entry in the journal of `session`; `at` is in Unix seconds; `tenant` and `user` are
    whose session it is.

    `who` is the person who decided, None where it was none: for a verdict see `rule`, the policy's own name for what made it decide so,
    for a hook its id. `call` and `tool` are the call that it is about, `arguments_sha256` fingerprints the arguments that were decided on;
    `before_sha256` those that they took the place of. `detail` has the settings that were changed, by name.
    """

    session: str
    entry: int
    at: float
    kind: AuditKind
    decision: AuditDecision
    tenant: str
    user: str
    who: Principal | None = None
    turn: int = 0
    call: str = ""
    tool: str = ""
    rule: str = ""
    point: str = ""
    reason: str = ""
    arguments_sha256: str = ""
    before_sha256: str = ""
    detail: dict[str, Any] = {}


class Wanted(msgspec.Struct, frozen=True):
    """Which records; None does not care. `since` and `until` are Unix seconds, the latter not included."""

    since: float | None = None
    until: float | None = None
    kind: AuditKind | None = None
    tool: str | None = None
    who: Principal | None = None

    def has(self, record: AuditRecord) -> bool:
        """Whether it is one of them. What could not be read is always told: what was looked for may be in it."""
        if record.kind == "unreadable":
            return True
        return (
            (self.since is None or record.at >= self.since)
            and (self.until is None or record.at < self.until)
            and (self.kind is None or record.kind == self.kind)
            and (self.tool is None or record.tool == self.tool)
            and (self.who is None or record.who == self.who)
        )


def fingerprint(arguments: str) -> str:
    """The sha256 (hex) of a call's arguments in the one form that all ways of writing them share."""
    said = canonical(arguments)
    return sha256(said if isinstance(said, bytes) else said.encode("utf-8", "surrogatepass")).hexdigest()


class Auditor:
    """Reads one journal from its beginning."""

    __slots__ = ("_calls", "_denied", "_settings", "principal", "session", "turn")

    def __init__(self, session: str, principal: Principal = LOCAL) -> None:
        self.session = session
        self.principal = principal
        self.turn = 0
        self._calls: dict[str, tuple[str, str]] = {}
        self._denied: set[str] = set()
        self._settings: SessionSettings = AGENTS_OWN

    def read(self, number: int, entry: Entry) -> AuditRecord | None:
        """What entry `number` says that belongs here."""
        if isinstance(entry, StepCommitted):
            self.turn = entry.message.turn
            self._calls = {call.id: (call.name, call.arguments) for call in entry.message.tool_calls}
            self._denied.clear()
            return None
        match entry:
            case SessionCreated():
                self.principal, self._settings = entry.principal, entry.settings
                return None
            case Decided():
                return self._decided(number, entry)
            case CallWaiting(kind="approval"):
                return self._asked(number, entry)
            case ApprovalAnswered():
                return self._answered(number, entry)
            case CallOutcome():
                return self._outcome(number, entry)
            case SettingsChanged():
                return self._set(number, entry)
            case _:
                return None

    def unreadable(self, number: int, at: float, why: str) -> AuditRecord:
        """What follows from entry `number` on is not known."""
        return self._record(number, at, "unreadable", "unreadable", reason=why)

    # --- one kind of entry each ---------------------------------------------------------------------------------------

    def _decided(self, number: int, entry: Decided) -> AuditRecord:
        if entry.decision in ("deny", "failed", "cancel"):
            self._denied.add(entry.call_id)
        return self._record(
            number,
            entry.at,
            "verdict" if entry.source == "policy" else entry.source,
            entry.decision,
            turn=entry.turn,
            call=entry.call_id,
            tool=entry.name,
            rule=entry.rule,
            point=entry.point,
            reason=entry.reason,
            arguments_sha256=entry.arguments_sha256,
            before_sha256=entry.before_sha256,
        )

    def _asked(self, number: int, entry: CallWaiting) -> AuditRecord:
        return self._of_call(number, entry.at, "approval", "asked", entry.call_id, reason=entry.reason)

    def _answered(self, number: int, entry: ApprovalAnswered) -> AuditRecord:
        name, arguments = self._calls.get(entry.call_id, ("", ""))
        before = ""
        if entry.arguments is not None and arguments:
            before = fingerprint(arguments)
            self._calls[entry.call_id] = name, entry.arguments
        if not entry.allowed:
            self._denied.add(entry.call_id)
        decision = "allowed" if entry.allowed else "expired" if entry.expired else "denied"
        who = None if entry.expired else entry.by or self.principal
        said = {"who": who, "reason": entry.reason, "before_sha256": before}
        return self._of_call(number, entry.at, "approval", decision, entry.call_id, **said)

    def _outcome(self, number: int, entry: CallOutcome) -> AuditRecord | None:
        """A call that was denied, if nobody's decision to deny it is in the journal by now."""
        outcome, call_id = entry.result.outcome, entry.result.call_id
        if not isinstance(outcome, Denied) or call_id in self._denied:
            return None
        return self._of_call(number, entry.at, "denial", "denied", call_id, reason=outcome.reason or explain(outcome))

    def _set(self, number: int, entry: SettingsChanged) -> AuditRecord:
        before, now = self._settings, entry.settings
        self._settings = now
        changed = {
            name: msgspec.json.decode(msgspec.json.encode(getattr(now, name)))
            for name in SessionSettings.__struct_fields__
            if getattr(now, name) != getattr(before, name)
        }
        return self._record(number, entry.at, "settings", "changed", who=entry.by or self.principal, detail=changed)

    # --- what they share ----------------------------------------------------------------------------------------------

    def _of_call(
        self, number: int, at: float, kind: AuditKind, decision: AuditDecision, call_id: str, **said: Any
    ) -> AuditRecord:
        name, arguments = self._calls.get(call_id, ("", None))
        known = "" if arguments is None else fingerprint(arguments)
        return self._record(
            number, at, kind, decision, turn=self.turn, call=call_id, tool=name, arguments_sha256=known, **said
        )

    def _record(self, number: int, at: float, kind: AuditKind, decision: AuditDecision, **said: Any) -> AuditRecord:
        return AuditRecord(
            session=self.session,
            entry=number,
            at=at,
            kind=kind,
            decision=decision,
            tenant=self.principal.tenant,
            user=self.principal.user,
            **said,
        )
