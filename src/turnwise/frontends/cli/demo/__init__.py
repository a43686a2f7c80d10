"""`turnwise demo`: three turns with a scripted model, everything else real. `story` is the place to begin reading."""

from __future__ import annotations

from .story import demo

__all__ = ["demo"]
