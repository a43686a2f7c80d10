"""Decisions on their way into the journal (`said`), and out of it again (`reading`). What they look like is in `core.audit`."""
