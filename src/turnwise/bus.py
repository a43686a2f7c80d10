"""The event bus: what `runtime.bus` hands out, and who gets it; and how a runtime and its parts stand. See docs/bus.md, docs/degraded.md."""

from .core.result import TurnWarning
from .runtime.bus.bus import Bus
from .runtime.bus.following import Followed
from .runtime.bus.subscription import Subscription
from .runtime.bus.values import BusEvent, BusPolicy, BusStatus, HandlerFailed, SubscriberStatus
from .runtime.health import PartState, PartStatus
from .runtime.overview import LeaseStatus, RuntimeStatus

__all__ = [
    "Bus",
    "BusEvent",
    "BusPolicy",
    "BusStatus",
    "Followed",
    "HandlerFailed",
    "LeaseStatus",
    "PartState",
    "PartStatus",
    "RuntimeStatus",
    "SubscriberStatus",
    "Subscription",
    "TurnWarning",
]
