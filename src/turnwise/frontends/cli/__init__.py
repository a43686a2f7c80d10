"""The `turnwise` program. `main.main` is its entry point; docs/cli.md is its manual."""
