"""Where an Ollama server is reached: `OLLAMA_HOST` as Ollama's own client reads it.

The variable is shared with the server, where it says what to listen on: it may lack the scheme, the host or the port, hold an
address that only a server can use (`0.0.0.0`), or stand in quotes. Source: envconfig/config.go of Ollama (`Host`, `ConnectableHost`)
and https://docs.ollama.com/faq
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from ..core.errors import ConfigError, config_error
from .auth import Endpoint
from .connection import Connection
from .endpoint import auth_headers, checked_key, checked_url, first_of
from .hosts import Host

PORT = 11434
_CLOUD = "ollama.com"
_OPENAI_PATH = "/v1"


def endpoint(host: Host, model: str, environ: Mapping[str, str], connection: Connection) -> Endpoint:
    """The endpoint of a model at Ollama, by its own API or by OpenAI's. A server of one's own wants no key; Ollama's cloud does.

    Raises `ConfigError`: `invalid_url`, `invalid_key`.
    """
    given, listened = connection.get("base_url"), first_of(environ, host.url_variables)
    if given:
        url = checked_url(host, given)
    elif listened:
        url = checked_url(host, server_url(listened))
        if host.api == "openai.chat":
            url += _OPENAI_PATH
    else:
        url = host.base_url
    key = connection.get("api_key") or first_of(environ, host.key_variables)
    if key is None:
        return Endpoint(url, identity=hash(None))
    return Endpoint(url, auth_headers(host, checked_key(host, key)), identity=hash(key))


def server_url(value: str) -> str:
    """The URL that a client reaches the server at whose `OLLAMA_HOST` is `value`. Raises `ConfigError` (`invalid_url`)."""
    cleaned = value.strip().strip("\"'").strip()
    scheme, found, rest = cleaned.partition("://")
    if not found:
        scheme, rest = ("https" if cleaned == _CLOUD else "http"), cleaned
    place, slash, path = rest.partition("/")
    port = None if found or place == _CLOUD else PORT
    if place.count(":") > 1 and not place.startswith("["):
        place = f"[{place}]"  # an IPv6 address without its brackets
    try:
        parts = urlsplit(f"//{place}")
        name, port = parts.hostname or "127.0.0.1", parts.port or port
    except ValueError:
        raise _invalid(value) from None
    name = _reachable(name)
    return f"{scheme}://{name}{'' if port is None else f':{port}'}{(slash + path).rstrip('/')}"


def _reachable(name: str) -> str:
    """The host's name, in brackets if it is an IPv6 address. What listens on every address is reached at this machine's own."""
    try:
        address = ip_address(name)
    except ValueError:
        return name
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return name if address.version == 4 else f"[{name}]"


def _invalid(value: str) -> ConfigError:
    return config_error("invalid_url", f"OLLAMA_HOST is {value!r}, which is no address.", "Write it as HOST:PORT.")
