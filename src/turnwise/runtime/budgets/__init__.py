"""Budgets that turns share. What they are is in `core.budgets`; here: `account` (what was spent of one), `ledger` (the accounts of a runtime, and
how they outlive it), `tally` (the account of a session, which follows from its journal), `purse` (the accounts that one turn draws on)."""
