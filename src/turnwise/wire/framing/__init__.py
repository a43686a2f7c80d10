"""How streams are cut into payloads: server-sent events, JSON lines, JSON arrays, AWS event streams."""
