"""Testing agents without a provider: scripted providers, request validators, a guard against the network. Public.

Names are loaded when they are first used, so `import turnwise.testing` imports no server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import VirtualTimeLoop, run_in_virtual_time
    from .network_guard import NetworkGuard, NetworkRefused, no_network
    from .record import Recorder, cassette
    from .replay import Replay, ReplayError
    from .script import (
        Delivery,
        RecordedRequest,
        Reply,
        call,
        error_event,
        fail,
        hang,
        raw,
        raw_call,
        redacted,
        repeat,
        repeated,
        reply,
        text,
        think,
    )
    from .scripted import ScriptedProvider, ScriptError
    from .validators import Problem, check

__all__ = [
    "Delivery",
    "NetworkGuard",
    "NetworkRefused",
    "Problem",
    "RecordedRequest",
    "Recorder",
    "Replay",
    "ReplayError",
    "Reply",
    "ScriptError",
    "ScriptedProvider",
    "VirtualTimeLoop",
    "call",
    "cassette",
    "check",
    "error_event",
    "fail",
    "hang",
    "no_network",
    "raw",
    "raw_call",
    "redacted",
    "repeat",
    "repeated",
    "reply",
    "run_in_virtual_time",
    "text",
    "think",
]

_ELSEWHERE = {
    "NetworkGuard": "network_guard",
    "NetworkRefused": "network_guard",
    "no_network": "network_guard",
    "Recorder": "record",
    "Replay": "replay",
    "ReplayError": "replay",
    "cassette": "record",
    "ScriptError": "scripted",
    "ScriptedProvider": "scripted",
    "Problem": "validators",
    "VirtualTimeLoop": "clock",
    "run_in_virtual_time": "clock",
    "check": "validators",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_ELSEWHERE.get(name, 'script')}", __name__), name)
