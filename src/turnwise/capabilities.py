"""Capabilities for `Agent(capabilities=[…])`: what one is, and two that come with Turnwise. See docs/capabilities.md."""

from .runtime.capabilities.capability import Capability
from .runtime.capabilities.clock import Clock
from .runtime.capabilities.todo import Todo, TodoItem

__all__ = ["Capability", "Clock", "Todo", "TodoItem"]
