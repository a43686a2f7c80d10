"""Values, journal, transcript and turn machine: everything that can be decided without I/O.

Nothing here awaits, opens, sleeps, or asks for the time: times, ids and random numbers are passed in.
"""
