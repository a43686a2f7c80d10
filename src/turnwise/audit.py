"""What was decided in sessions, by whom and by which rule: the records, and how they are read. See docs/audit.md."""

from .core.audit import AuditDecision, AuditKind, AuditRecord, Wanted, fingerprint
from .runtime.audit.reading import as_jsonl, read_audit

__all__ = ["AuditDecision", "AuditKind", "AuditRecord", "Wanted", "as_jsonl", "fingerprint", "read_audit"]
