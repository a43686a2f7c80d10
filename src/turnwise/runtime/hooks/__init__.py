"""Hooks: functions that observe and steer named points of sessions, turns, steps and calls. Public as `turnwise.hooks`."""
