"""Middleware: functions around whole turns, model calls, tool calls and embedding requests. Public as `turnwise.middleware`."""
