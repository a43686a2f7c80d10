"""A log of what agents did, and a tool for them to look it up. See README.md."""

from .plugin import Settings, Worklog

__all__ = ["Settings", "Worklog"]
