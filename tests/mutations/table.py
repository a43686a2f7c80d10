"""The planted bugs, at least one per rule. Data only: `run.py` plants them, one at a time, in a copy of the source.

`old` must occur exactly once in `file` (under src/turnwise); keep it short and stable. `tests` are few and quick.
"""

from __future__ import annotations

import rows_approvals
import rows_audit
import rows_budget
import rows_bus
import rows_capabilities
import rows_context
import rows_decoders
import rows_doors
import rows_encoders
import rows_execution
import rows_flow
import rows_hooks
import rows_middleware
import rows_models
import rows_output
import rows_plugins
import rows_postgres
import rows_results
import rows_resume
import rows_sessions
import rows_sqlite
import rows_state
import rows_stores
import rows_streams
import rows_surface
import rows_telemetry
import rows_transcript
import rows_transfer
import rows_watchers
from row import Row

__all__ = ["ROWS", "Row"]

ROWS: list[Row] = [
    *rows_transcript.ROWS,
    *rows_context.ROWS,
    *rows_encoders.ROWS,
    *rows_state.ROWS,
    *rows_streams.ROWS,
    *rows_decoders.ROWS,
    *rows_execution.ROWS,
    *rows_results.ROWS,
    *rows_resume.ROWS,
    *rows_approvals.ROWS,
    *rows_audit.ROWS,
    *rows_flow.ROWS,
    *rows_hooks.ROWS,
    *rows_budget.ROWS,
    *rows_capabilities.ROWS,
    *rows_surface.ROWS,
    *rows_telemetry.ROWS,
    *rows_watchers.ROWS,
    *rows_sessions.ROWS,
    *rows_middleware.ROWS,
    *rows_models.ROWS,
    *rows_postgres.ROWS,
    *rows_output.ROWS,
    *rows_doors.ROWS,
    *rows_stores.ROWS,
    *rows_transfer.ROWS,
    *rows_sqlite.ROWS,
    *rows_plugins.ROWS,
    *rows_bus.ROWS,
]
