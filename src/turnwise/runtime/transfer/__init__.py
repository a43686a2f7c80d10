"""Sessions on their way out of a store and into one, and the upkeep of stores. Built on `core.store` alone: no session is opened."""
