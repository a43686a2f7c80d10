"""The `turnwise` program. `main.main` is its entry point; docs/cli.md is its manual."""

AGENT = "cli"
"""The name under which sessions know this program's agent."""
