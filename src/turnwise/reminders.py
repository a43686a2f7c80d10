"""Reminders for `Agent(reminders=[…])`: what the model is told in each request anew, at its end. `budget` says what is left of the turn's
limits, `time` the date and the time; any function of a `ReminderContext` can be one."""

from .runtime.reminders import Reminder, ReminderContext, budget, time

__all__ = ["Reminder", "ReminderContext", "budget", "time"]
