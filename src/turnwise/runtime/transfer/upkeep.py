"""Upkeep that only some stores can do: `verify_store` and `backup_store` ask the store itself, and say so if it cannot."""
