"""Telemetry: spans and metrics by the OpenTelemetry API, ids in log records, and a session's journal as a tree.

Nothing here is imported until someone asks for it; what the engine calls is in `probe` (a protocol), `where` and `log`.
"""
