"""Where most providers are reached: a base URL and a static key, from code or from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from ..core.errors import ConfigError, ErrorInfo, config_error
from .auth import Endpoint
from .connection import Connection
from .hosts import Host
from .secrets import learn, learn_from_url, mask


def key_endpoint(host: Host, environ: Mapping[str, str], connection: Connection) -> Endpoint:
    """The endpoint of a host that takes a static key. A host at an address of the caller's own may do without one."""
    url = checked_url(host, connection.get("base_url") or first_of(environ, host.url_variables) or host.base_url)
    key = connection.get("api_key") or first_of(environ, host.key_variables)
    if key is None:
        if host.needs_key and url == host.base_url:
            raise missing_key(host)
        return Endpoint(url, identity=hash(None))
    return Endpoint(url, auth_headers(host, checked_key(host, key)), identity=hash(key))


def first_of(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """The first of these variables that is set and not empty."""
    return next((environ[n] for n in names if environ.get(n)), None)


def checked_url(host: Host, url: str) -> str:
    """The URL. Raises `ConfigError` (`invalid_url`)."""
    parts = urlsplit(url)
    learn_from_url(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise config_error(
            "invalid_url", f"The base URL {mask(url)!r} of {host.name!r} is not an http or https address."
        )
    return url


def checked_key(host: Host, key: str) -> str:
    """The key. Raises `ConfigError` (`invalid_key`) if it cannot stand in a header."""
    learn(key)
    return printable(host, key)


def printable(host: Host, key: str) -> str:
    """The same for a token that passes, which is noted elsewhere."""
    if not (key.isascii() and key.isprintable()):
        raise config_error(
            "invalid_key",
            f"The API key for {host.label} has characters that cannot be sent in a header.",
            "Look for a line break or a non-ASCII character where it is set.",
        )
    return key


def auth_headers(host: Host, key: str) -> dict[str, str]:
    """The header that carries the key."""
    return {"authorization": f"Bearer {key}"} if host.auth == "bearer" else {host.auth: key}


def missing_key(host: Host) -> ConfigError:
    """The error for a provider whose key is nowhere to be found."""
    return ConfigError(
        ErrorInfo(
            "config",
            "missing_key",
            f"There is no API key for {host.label}.",
            f"Set {' or '.join(host.key_variables)} in the environment, or pass api_key= to Agent.",
            provider=host.name,
        )
    )


def missing_config(host: Host, field: str, hint: str) -> ConfigError:
    """The error for something that a provider cannot do without; names the field."""
    message = f"{host.label} needs {field}, which is not set."
    return ConfigError(ErrorInfo("config", "missing_config", message, hint, detail=field, provider=host.name))


def missing_extra(host: Host, package: str, extra: str) -> ConfigError:
    """The error for a provider whose optional dependency is not installed (rule I1)."""
    message = f"{host.label} needs the package {package}."
    return ConfigError(
        ErrorInfo(
            "config", "missing_extra", message, f"Install it with: pip install 'turnwise[{extra}]'.", provider=host.name
        )
    )
