"""Plugins: what they are, how they are found and configured, and their life on a runtime. Public as `turnwise.plugins`."""
