"""Doors to the engine: they read input, call the runtime and show events. No engine logic lives here."""
