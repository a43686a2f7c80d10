"""What all framers share: how much they hold at most, and the error when that is too little."""

from __future__ import annotations

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""The longest line, and the longest payload of one event, that is taken."""
MAX_BODY_BYTES = 64 * 1024 * 1024
"""The longest body that a decoder holds when the response is one document and not a stream."""


class FramingError(Exception):
    """A line or an event is longer than it may be. Never leaves `wire`: decoders turn it into `ResponseFailed`."""
