"""A model ready to be called: codec, address and credentials of one `provider:model` name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..core.errors import ConfigError, ErrorInfo, config_error
from ..core.request import RequestHead
from ..wire.base import Codec, EncodedHead, codec
from .hosts import HOSTS, Host


class ModelHandle:
    """One model at one host. Holds the key; its `repr` and its errors never show it."""

    __slots__ = ("_auth", "base_url", "codec", "host", "key_scope", "model", "provider")

    def __init__(self, host: Host, model: str, base_url: str, key: str | None, codec: Codec) -> None:
        self.host = host
        self.provider = host.name
        self.model = model
        self.base_url = base_url.rstrip("/")
        self.codec = codec
        self._auth = _auth_headers(host, key)
        self.key_scope = (host.name, self.base_url, hash(key))
        """Identifies provider, address and key without telling the key: what retry budgets and limits are shared by."""

    def __repr__(self) -> str:
        return f"ModelHandle({self.provider}:{self.model} at {self.base_url})"

    def seal(self, head: RequestHead) -> Sealed:
        """The encoded head with its full URL and headers, credentials included."""
        encoded = self.codec.encode_head(head)
        return Sealed(encoded, self.base_url + encoded.path, {**encoded.headers, **self._auth})


class Sealed:
    """An encoded head, where it goes, and the headers that let it in. Not for printing: it holds the key."""

    __slots__ = ("head", "headers", "url")

    def __init__(self, head: EncodedHead, url: str, headers: Mapping[str, str]) -> None:
        self.head = head
        self.url = url
        self.headers = headers


def resolve_model(
    name: str,
    environ: Mapping[str, str],
    *,
    base_url: str | None = None,
    api_key: str | None = None,
) -> ModelHandle:
    """The model that a `provider:model` name means, with key and address from the arguments or else from `environ`.

    Raises `ConfigError` before any I/O: `unknown_provider`, `missing_model`, `missing_key`, `invalid_url`.
    """
    provider, _, model = name.partition(":")
    host = HOSTS.get(provider)
    if host is None or not model:
        raise _unknown(name, provider, model)
    url = base_url or _first(environ, host.url_variables) or host.base_url
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise config_error("invalid_url", f"The base URL {url!r} of {provider!r} is not an http or https address.")
    key = api_key or _first(environ, host.key_variables)
    if key is not None and not (key.isascii() and key.isprintable()):
        raise config_error(
            "invalid_key",
            f"The API key for {host.label} has characters that cannot be sent in a header.",
            "Look for a line break or a non-ASCII character where it is set.",
        )
    if key is None and host.needs_key and url == host.base_url:
        raise missing_key(host)
    return ModelHandle(host, model, url, key, _codec(host))


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


def _unknown(name: str, provider: str, model: str) -> ConfigError:
    if provider in HOSTS:
        return config_error("missing_model", f"{name!r} names no model.", f"Write it as {provider}:MODEL.")
    near = difflib.get_close_matches(provider, HOSTS, 1)
    hint = f"Did you mean {near[0]}:{model or 'MODEL'}?" if near else f"Known providers: {', '.join(HOSTS)}."
    what = f"There is no provider {provider!r}" if model else f"{name!r} is not of the form provider:model"
    return config_error("unknown_provider", f"{what}.", f"{hint} A model is named provider:model.")


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environ[n] for n in names if environ.get(n)), None)


def _codec(host: Host) -> Codec:
    if host.api == "openai.chat":
        from ..wire.openai_chat import chat_codec
        from ..wire.profile import PROFILES

        return chat_codec(PROFILES[host.profile])
    return codec(host.api)


def _auth_headers(host: Host, key: str | None) -> dict[str, str]:
    if not key:
        return {}
    return {"authorization": f"Bearer {key}"} if host.auth == "bearer" else {host.auth: key}
