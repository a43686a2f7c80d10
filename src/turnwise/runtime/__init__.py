"""Sessions, turns and the runtime that owns whatever they start."""
