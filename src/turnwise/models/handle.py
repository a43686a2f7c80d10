"""A model ready to be called: codec, address and credentials of one `provider:model` name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

import msgspec

from ..core.errors import ConfigError, config_error
from ..core.request import ModelSettings, RequestHead
from ..wire.base import Codec, EncodedHead, codec
from ..wire.heads import unsupported
from .auth import Auth, Endpoint
from .connection import Connection, Model
from .endpoint import key_endpoint
from .hosts import HOSTS, Host
from .secrets import mask

_SHARED = ("base_url", "api_key")
BOUNDED = frozenset(("anthropic.messages",))
"""APIs that demand a bound of the output. The others' own default is as much as the model can say."""


class ModelHandle:
    """One model at one host. Holds the key; its `repr` and its errors never show it."""

    __slots__ = ("_codec", "_endpoint", "asked", "base_url", "host", "key_scope", "model", "provider", "settings")

    def __init__(self, asked: Model, host: Host, model: str, endpoint: Endpoint, codec: Codec | None) -> None:
        self.asked = asked
        """What it was made of."""
        self.host = host
        self.provider = host.name
        self.model = model
        self.base_url = endpoint.base_url.rstrip("/")
        self._codec = codec
        self.settings = asked.settings
        self._endpoint = endpoint
        self.key_scope = (host.name, self.base_url, endpoint.identity)
        """Identifies provider, address and key without telling the key: what retry budgets and limits are shared by."""

    def __repr__(self) -> str:
        return mask(f"ModelHandle({self.provider}:{self.model} at {self.base_url})")

    @property
    def codec(self) -> Codec:
        """How this model is talked to. Raises `ConfigError` (`unsupported_feature`) at a host without chat."""
        if self._codec is None:
            raise unsupported(self.host.label, "conversations", "It embeds and reranks: see turnwise.embeddings.")
        return self._codec

    @property
    def has_chat(self) -> bool:
        """Whether this host has models to talk to."""
        return self._codec is not None

    @property
    def wire_name(self) -> str:
        """What the host calls this model, where it has a name of its own for it (a deployment)."""
        return self._endpoint.model or self.model

    @property
    def auth(self) -> Auth | None:
        """Credentials to be worked out for each request, if any."""
        return self._endpoint.auth

    def head(self, given: RequestHead) -> RequestHead:
        """The head as this model is asked it: its name, and its own settings if it has any."""
        settings = self.settings or given.settings
        if settings.max_output_tokens is None and (bound := self.output_bound(settings, given.stream)) is not None:
            settings = msgspec.structs.replace(settings, max_output_tokens=bound)
        return RequestHead(self.wire_name, given.instructions, given.tools, settings, given.stream)

    def output_bound(self, settings: ModelSettings, streamed: bool) -> int | None:
        """What bounds the output at an API that demands a bound, if the settings name none: as much as the model can say, where that is
        known. None leaves it to the codec, or to the provider."""
        if self._codec is None or self._codec.api not in BOUNDED or "claude" not in self.model:
            return None
        from .known import output_bound

        return output_bound(self.provider, self.model, settings, streamed=streamed)

    def seal(self, head: RequestHead) -> Sealed:
        """The encoded head with its full URL and headers, static credentials included."""
        encoded = self.codec.encode_head(head)
        url, headers = self.address(encoded.path)
        return Sealed(encoded, url, {**encoded.headers, **headers})

    def address(self, path: str) -> tuple[str, Mapping[str, str]]:
        """The full URL of a path of this host, and the headers with its static credentials."""
        endpoint, url = self._endpoint, self.base_url + path
        if endpoint.query:
            url += ("&" if "?" in path else "?") + endpoint.query
        return url, endpoint.headers


class Sealed:
    """An encoded head, where it goes, and the headers that let it in. Not for printing: it holds the key."""

    __slots__ = ("head", "headers", "url")

    def __init__(self, head: EncodedHead, url: str, headers: Mapping[str, str]) -> None:
        self.head = head
        self.url = url
        self.headers = headers


def resolve_model(model: str | Model, environ: Mapping[str, str]) -> ModelHandle:
    """The model that a name means, with key and address from its connection or else from `environ`.

    Raises `ConfigError` before any I/O: `unknown_provider`, `missing_model`, `missing_key`, `missing_config`,
    `unused_config`, `invalid_url`, `invalid_key`, `missing_extra`.
    """
    asked = Model(model) if isinstance(model, str) else model
    provider, name, connection = parts_of(asked)
    host = HOSTS.get(provider)
    if host is None or not name:
        raise _unknown(asked.name, provider, name)
    _check_options(host, asked.name, connection)
    endpoint = _endpoint(host, name, environ, connection)
    made = _codec(host if connection is asked.connection else _elsewhere(host), name)
    if asked.tools == "prompted" and made is not None:
        from ..wire.prompted.codec import prompted_codec

        made = prompted_codec(made)
    return ModelHandle(asked, host, name, endpoint, made)


def resolve_host(provider: str | Model, environ: Mapping[str, str]) -> tuple[Host, Endpoint]:
    """A provider and how it is reached, whatever the model: `openai`, or what names a model of it. Raises as `resolve_model` does."""
    asked = Model(provider) if isinstance(provider, str) else provider
    name, model, connection = parts_of(asked)
    host = HOSTS.get(name)
    if host is None:
        raise unknown_provider(name)
    _check_options(host, asked.name, connection)
    return host, _endpoint(host, model, environ, connection)


def parts_of(model: str | Model) -> tuple[str, str, Connection]:
    """The provider, the model's name and the connection that a name means. None of them is checked; the name may be empty."""
    asked = Model(model) if isinstance(model, str) else model
    provider, _, name = asked.name.partition(":")
    return provider, *_placed(asked.name, name, asked.connection)


def _check_options(host: Host, whole: str, connection: Connection) -> None:
    for option in connection:
        if option not in _SHARED and not (host.options and option.startswith(host.options)):
            raise config_error(
                "unused_config",
                f"{option} means nothing to {host.label} ({whole}).",
                "Leave it out, or pass it to the Model that it is for.",
            )


def _placed(whole: str, name: str, connection: Connection) -> tuple[str, Connection]:
    """The model's name and connection, for names of the form `openai:MODEL@https://host/v1`."""
    for scheme in ("@https://", "@http://"):
        model, found, rest = name.partition(scheme)
        if not found:
            continue
        if "base_url" in connection:
            message = f"{whole!r} names an address, and base_url names one too."
            raise config_error("conflicting_settings", message, "Give the address in one place.")
        return model, {**connection, "base_url": scheme[1:] + rest}
    return name, connection


def _elsewhere(host: Host) -> Host:
    """The host as `openai:MODEL@https://…` means it: any server that speaks OpenAI's API, not OpenAI behind another address."""
    return msgspec.structs.replace(host, profile="compatible") if host.profile == "openai" else host


def _endpoint(host: Host, model: str, environ: Mapping[str, str], connection: Connection) -> Endpoint:
    if not host.endpoint:
        return key_endpoint(host, environ, connection)
    module = import_module(f".{host.endpoint}", __package__)
    return cast(Any, module).endpoint(host, model, environ, connection)


def unknown_provider(name: str) -> ConfigError:
    """The error for a provider that there is none of by that name."""
    near = difflib.get_close_matches(name, HOSTS, 1)
    hint = f"Did you mean {near[0]}?" if near else f"Known providers: {', '.join(HOSTS)}."
    return config_error("unknown_provider", f"There is no provider {name!r}.", hint)


def _unknown(name: str, provider: str, model: str) -> ConfigError:
    if provider in HOSTS:
        return config_error("missing_model", f"{name!r} names no model.", f"Write it as {provider}:MODEL.")
    near = difflib.get_close_matches(provider, HOSTS, 1)
    hint = f"Did you mean {near[0]}:{model or 'MODEL'}?" if near else f"Known providers: {', '.join(HOSTS)}."
    what = f"There is no provider {provider!r}" if model else f"{name!r} is not of the form provider:model"
    return config_error("unknown_provider", f"{what}.", f"{hint} A model is named provider:model.")


def _codec(host: Host, model: str) -> Codec | None:
    if not host.api:
        return None
    if host.api == "openai.responses" and host.profile:
        from ..wire.openai_responses.codec import responses_codec

        return responses_codec(host.profile, host.label)
    if host.api == "bedrock.converse":
        from ..wire.bedrock.codec import bedrock_codec

        return bedrock_codec(model)
    if host.api == "openai.chat":
        from ..wire.openai_chat.codec import chat_codec
        from ..wire.openai_chat.profiles import PROFILES

        return chat_codec(PROFILES[host.profile])
    return codec(host.api)
