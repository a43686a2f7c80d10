"""Keys for `Tools.from_openapi(spec, auth=…)`: where they go in a request. See docs/tool-registry.md."""

from .tools.openapi import ApiKey, Auth, Basic, Bearer, Outgoing

__all__ = ["ApiKey", "Auth", "Basic", "Bearer", "Outgoing"]
