"""What hooks are shown, where that is no value of the engine anyway; and how what they put in its place is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ...core.changes import Trigger
from ...core.compaction import Compaction
from ...core.content import AssistantBlock, Text, ToolCall
from ...core.ids import call_id
from ...core.messages import AssistantMessage
from ...core.outcomes import ToolResult
from ...core.principal import Principal
from ...core.request import ModelSettings
from ...core.store import ScopeKind


class Unfit(Exception):
    """What a hook gave is not what its point takes; the text says why."""


class SessionFacts(msgspec.Struct, frozen=True):
    """A session that came to life in this process, or is closed in it. `turns` is how many it has had, `stored` whether its journal outlives
    the process."""

    id: str
    name: str | None
    agent: str
    principal: Principal
    turns: int
    stored: bool


class StepRequest(msgspec.Struct, frozen=True):
    """What a model is about to be asked, beside the messages, which stay as they are (rule T7). `reminder` is told at the end of this request and
    of no other. `model` is the one that is asked; `Redirect` names another one of the agent's."""

    model: str
    instructions: str
    settings: ModelSettings
    reminder: str = ""


class ToolRequest(msgspec.Struct, frozen=True, gc=False):
    """A call about to run: the tool's name, and its arguments as the JSON text that they are journalled as."""

    name: str
    raw_arguments: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments as plain JSON data; a new dict each time."""
        return msgspec.json.decode(self.raw_arguments) if self.raw_arguments.strip() else {}

    def with_arguments(self, arguments: Mapping[str, Any] | None = None, /, **changed: Any) -> ToolRequest:
        """The same call with other arguments: all of them, or the ones that are named changed."""
        whole = {**(self.arguments if arguments is None else arguments), **changed}
        return ToolRequest(self.name, msgspec.json.encode(whole).decode())


class StateWrite(msgspec.Struct, frozen=True):
    """A record of scoped state that is written or, if `deleted`, taken away. `value` is its JSON data."""

    scope: ScopeKind
    name: str
    key: str
    value: Any = None
    deleted: bool = False


class CompactionRequest(msgspec.Struct, frozen=True):
    """A conversation about to be made shorter: why, how many tokens the next request would take, what its model reads if that is known, and the
    settings that it is done by."""

    trigger: Trigger
    tokens: int
    limit: int | None
    settings: Compaction | None


class ApprovalRequest(msgspec.Struct, frozen=True, gc=False):
    """A call about to wait for leave: what people will be told, and how long it waits (None: for ever)."""

    call_id: str
    name: str
    raw_arguments: str
    reason: str = ""
    expires_in_s: float | None = None


class ApprovalAnswer(msgspec.Struct, frozen=True, gc=False):
    """What somebody said of a call that waited, or that nobody said anything in time. `arguments` are those that it runs with instead, if they
    were edited."""

    call_id: str
    name: str
    allowed: bool
    reason: str = ""
    arguments: str | None = None


# --- what is put in their place ----------------------------------------------------------------------------------------


def same_type(value: Any, old: Any) -> Any:
    """A value of the very type that is there."""
    if type(value) is not type(old):
        raise Unfit(f"it gave a {_name(value)} where a {_name(old)} belongs")
    return value


def a_prompt(value: Any, old: Any) -> Any:
    """Text, or content blocks, in place of an input; there must be one."""
    if old is None:
        raise Unfit("the turn begins without an input, so there is none to change")
    if isinstance(value, str):
        if not value.strip():
            raise Unfit("it gave a blank prompt")
        return value
    blocks = tuple(cast("list[Any]", value)) if isinstance(value, list | tuple) else ()
    if not blocks:
        raise Unfit(f"it gave a {_name(cast('object', value))}, not a prompt")
    return blocks


def a_step_request(value: Any, old: StepRequest) -> StepRequest:
    value = same_type(value, old)
    if value.model != old.model:
        raise Unfit("it changed the model, which is for Redirect(…) to do")
    if not isinstance(value.instructions, str) or not isinstance(value.reminder, str):
        raise Unfit("instructions and reminder are texts")
    if not isinstance(value.settings, ModelSettings):
        raise Unfit(f"settings are ModelSettings, not a {_name(value.settings)}")
    return value


def an_answer(given: Any) -> str | tuple[AssistantBlock, ...]:
    """What a hook gave in place of what a model says. Raises `Unfit`."""
    if isinstance(given, str):
        return given
    if isinstance(given, AssistantMessage):
        return given.body
    blocks = tuple(cast("list[Any]", given)) if isinstance(given, list | tuple) else (given,)
    if not blocks or not all(isinstance(block, msgspec.Struct) for block in blocks):
        raise Unfit(f"a {_name(cast('object', given))} is no answer of a model")
    return blocks


def a_message(value: Any, old: AssistantMessage) -> AssistantMessage:
    """Another message in place of the model's: what is known of the model call stays."""
    if not isinstance(value, AssistantMessage):
        value = msgspec.structs.replace(old, body=an_answer(value))
    if (value.turn, value.step, value.response) != (old.turn, old.step, old.response):
        value = msgspec.structs.replace(old, body=value.body)
    return numbered(value, [call.id for call in old.tool_calls])


def numbered(message: AssistantMessage, known: Any) -> AssistantMessage:
    """The message with ids of ours for calls that no model made (rule T4)."""
    if isinstance(message.body, str):
        return message
    used, number, blocks = set[str](), len(known), list[AssistantBlock]()
    for block in message.body:
        ours = block
        if type(block) is ToolCall and (block.id not in known or block.id in used):
            ours = msgspec.structs.replace(block, id=call_id(message.turn, message.step, number))
            number += 1
        if type(ours) is ToolCall:
            used.add(ours.id)
        blocks.append(ours)
    if all(type(block) is Text and block.native is None for block in blocks) and len(blocks) == 1:
        return msgspec.structs.replace(message, body=message.text)
    return msgspec.structs.replace(message, body=tuple(blocks))


def a_tool_request(value: Any, old: ToolRequest) -> ToolRequest:
    """The call with other arguments; they may be given alone."""
    if isinstance(value, Mapping):
        try:
            return old.with_arguments(cast("Mapping[str, Any]", value))
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise Unfit(f"the arguments that it gave are not JSON data: {error}") from None
    value = same_type(value, old)
    if value.name != old.name:
        raise Unfit("it changed the tool, which is for Redirect(…) to do")
    return value


def a_tool_result(value: Any, old: ToolResult) -> ToolResult:
    """What the model is told instead: a result, or anything that a tool may return. How the call ended stays."""
    if isinstance(value, ToolResult):
        if value.call_id != old.call_id:
            raise Unfit("it gave the result of another call")
        if type(value.outcome) is not type(old.outcome):
            raise Unfit("it changed how the call ended, which is for Replace(…) to do")
        return msgspec.structs.replace(value, artifact=old.artifact)
    from ...tools import render_result

    try:
        return msgspec.structs.replace(old, body=render_result(value), summary=None)
    except Exception as error:
        raise Unfit(f"what it gave cannot be told to a model: {error}") from None


def a_state_write(value: Any, old: StateWrite) -> StateWrite:
    """Another value for the same record; it may be given alone."""
    if not isinstance(value, StateWrite):
        value = msgspec.structs.replace(old, value=value)
    if (value.scope, value.name, value.key, value.deleted) != (old.scope, old.name, old.key, old.deleted):
        raise Unfit("it changed which record is written")
    if old.deleted:
        raise Unfit("the record is taken away, so there is no value to change")
    return value


def a_compaction(value: Any, old: CompactionRequest) -> CompactionRequest:
    """Other settings for this compaction; they may be given alone."""
    if isinstance(value, Compaction):
        value = msgspec.structs.replace(old, settings=value)
    value = same_type(value, old)
    if (value.trigger, value.tokens, value.limit) != (old.trigger, old.tokens, old.limit):
        raise Unfit("it changed more than the settings")
    if value.settings is not None and not isinstance(value.settings, Compaction):
        raise Unfit(f"settings are a Compaction, not a {_name(value.settings)}")
    return value


def an_approval(value: Any, old: ApprovalRequest) -> ApprovalRequest:
    value = same_type(value, old)
    if (value.call_id, value.name, value.raw_arguments) != (old.call_id, old.name, old.raw_arguments):
        raise Unfit("it changed more than reason and expiry")
    if value.expires_in_s is not None and not value.expires_in_s > 0:
        raise Unfit(f"an approval that expires in {value.expires_in_s} s is over at once")
    return value


def _name(value: object) -> str:
    return type(value).__name__
