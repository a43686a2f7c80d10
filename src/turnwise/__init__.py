"""Turnwise: a runtime for LLM agents.

This module is the public face: names are loaded when they are first used, so importing it costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.audit import AuditRecord
    from .core.budgets import Budget, BudgetStatus
    from .core.compaction import Compaction, CompactReport, Drop, Mask, Summarise
    from .core.content import Audio, Document, Image, Text
    from .core.errors import ToolError, TurnwiseError
    from .core.limits import Deadlines, Limits, Retry
    from .core.loops import Loops
    from .core.messages import AssistantMessage, ToolMessage, UserMessage
    from .core.principal import Principal
    from .core.replay import replay
    from .core.request import ModelSettings, OneTool, OutputFormat, Reasoning
    from .core.result import TurnResult, TurnWarning
    from .core.search import SearchHit
    from .core.settings import SessionSettings
    from .core.store import Query, SessionInfo
    from .core.usage import Usage
    from .models.connection import Model
    from .runtime.agent import Agent
    from .runtime.bus.values import BusEvent
    from .runtime.capabilities.capability import Capability
    from .runtime.channel import Channel, TurnHandle
    from .runtime.follow_ups import FollowUp
    from .runtime.gates import ProviderLimits
    from .runtime.history_ops import Move
    from .runtime.hooks.context import HookContext
    from .runtime.hooks.hook import hook
    from .runtime.kept import Kept
    from .runtime.overview import RuntimeStatus
    from .runtime.plugins.plugin import Plugin
    from .runtime.plugins.plugins import Plugins
    from .runtime.recovery import Recovery
    from .runtime.runtime import Runtime
    from .runtime.session import Session
    from .runtime.sessions import Drained, Sessions, SessionsStatus
    from .runtime.status import SessionStatus
    from .runtime.steps import Step, Steps
    from .runtime.titles import Titles
    from .runtime.transfer.export import export_session
    from .runtime.transfer.importing import import_session
    from .runtime.transfer.prune import prune
    from .runtime.transfer.upkeep import backup_store, verify_store
    from .runtime.turn import Turn
    from .runtime.watch import Watcher
    from .store.memory import MemoryStore
    from .store.postgres import PostgresStore
    from .store.scopes import State
    from .store.shapes import StateKey, StateRecord
    from .store.sqlite import SqliteStore
    from .store.state_watch import StateChange, StateWatcher
    from .tools import Tool, ToolContext, tool
    from .tools.approval import Allow, Ask, Deny, ProposedCall
    from .tools.output import Output
    from .tools.registry import Tools

__version__ = "0.1.0.dev0"

_HOMES = {
    "Agent": "runtime.agent",
    "Allow": "tools.approval",
    "Ask": "tools.approval",
    "AssistantMessage": "core.messages",
    "Audio": "core.content",
    "AuditRecord": "core.audit",
    "Budget": "core.budgets",
    "BudgetStatus": "core.budgets",
    "BusEvent": "runtime.bus.values",
    "Capability": "runtime.capabilities.capability",
    "Channel": "runtime.channel",
    "CompactReport": "core.compaction",
    "Compaction": "core.compaction",
    "Deadlines": "core.limits",
    "Deny": "tools.approval",
    "Document": "core.content",
    "Drained": "runtime.sessions",
    "Drop": "core.compaction",
    "FollowUp": "runtime.follow_ups",
    "HookContext": "runtime.hooks.context",
    "Image": "core.content",
    "Kept": "runtime.kept",
    "Limits": "core.limits",
    "Loops": "core.loops",
    "Mask": "core.compaction",
    "MemoryStore": "store.memory",
    "Model": "models.connection",
    "ModelSettings": "core.request",
    "Move": "runtime.history_ops",
    "OneTool": "core.request",
    "Output": "tools.output",
    "OutputFormat": "core.request",
    "Plugin": "runtime.plugins.plugin",
    "Plugins": "runtime.plugins.plugins",
    "PostgresStore": "store.postgres",
    "Principal": "core.principal",
    "ProposedCall": "tools.approval",
    "ProviderLimits": "runtime.gates",
    "Query": "core.store",
    "Reasoning": "core.request",
    "Recovery": "runtime.recovery",
    "Retry": "core.limits",
    "Runtime": "runtime.runtime",
    "RuntimeStatus": "runtime.overview",
    "SearchHit": "core.search",
    "Session": "runtime.session",
    "SessionInfo": "core.store",
    "Sessions": "runtime.sessions",
    "SessionsStatus": "runtime.sessions",
    "SqliteStore": "store.sqlite",
    "State": "store.scopes",
    "StateChange": "store.state_watch",
    "StateKey": "store.shapes",
    "StateRecord": "store.shapes",
    "StateWatcher": "store.state_watch",
    "Step": "runtime.steps",
    "Steps": "runtime.steps",
    "Summarise": "core.compaction",
    "SessionSettings": "core.settings",
    "SessionStatus": "runtime.status",
    "Text": "core.content",
    "Titles": "runtime.titles",
    "Tool": "tools",
    "ToolContext": "tools",
    "ToolError": "core.errors",
    "ToolMessage": "core.messages",
    "Tools": "tools.registry",
    "Turn": "runtime.turn",
    "TurnHandle": "runtime.channel",
    "TurnResult": "core.result",
    "TurnWarning": "core.result",
    "TurnwiseError": "core.errors",
    "Usage": "core.usage",
    "UserMessage": "core.messages",
    "Watcher": "runtime.watch",
    "backup_store": "runtime.transfer.upkeep",
    "export_session": "runtime.transfer.export",
    "hook": "runtime.hooks.hook",
    "import_session": "runtime.transfer.importing",
    "prune": "runtime.transfer.prune",
    "replay": "core.replay",
    "tool": "tools",
    "verify_store": "runtime.transfer.upkeep",
}

__all__ = [
    "Agent",
    "Allow",
    "Ask",
    "AssistantMessage",
    "Audio",
    "AuditRecord",
    "Budget",
    "BudgetStatus",
    "BusEvent",
    "Capability",
    "Channel",
    "CompactReport",
    "Compaction",
    "Deadlines",
    "Deny",
    "Document",
    "Drained",
    "Drop",
    "FollowUp",
    "HookContext",
    "Image",
    "Kept",
    "Limits",
    "Loops",
    "Mask",
    "MemoryStore",
    "Model",
    "ModelSettings",
    "Move",
    "OneTool",
    "Output",
    "OutputFormat",
    "Plugin",
    "Plugins",
    "PostgresStore",
    "Principal",
    "ProposedCall",
    "ProviderLimits",
    "Query",
    "Reasoning",
    "Recovery",
    "Retry",
    "Runtime",
    "RuntimeStatus",
    "SearchHit",
    "Session",
    "SessionInfo",
    "SessionSettings",
    "SessionStatus",
    "Sessions",
    "SessionsStatus",
    "SqliteStore",
    "State",
    "StateChange",
    "StateKey",
    "StateRecord",
    "StateWatcher",
    "Step",
    "Steps",
    "Summarise",
    "Text",
    "Titles",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolMessage",
    "Tools",
    "Turn",
    "TurnHandle",
    "TurnResult",
    "TurnWarning",
    "TurnwiseError",
    "Usage",
    "UserMessage",
    "Watcher",
    "backup_store",
    "export_session",
    "hook",
    "import_session",
    "prune",
    "replay",
    "tool",
    "verify_store",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
