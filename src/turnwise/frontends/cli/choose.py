"""Which model is asked when none is named, and what is said when none can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core.errors import ConfigError, ErrorInfo
from ...models.hosts import HOSTS, Host
from .local import LocalServer

DEFAULT_MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "openai": "gpt-5-mini",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-medium-latest",
    "xai": "grok-4.3",
    "deepseek": "deepseek-chat",
    "groq": "openai/gpt-oss-120b",
}
"""By provider, in order of preference."""

_MODELS_SHOWN = 4


def choose_model(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The default model of the first provider whose key is set, and the variable that holds the key."""
    for provider, model in DEFAULT_MODELS.items():
        for variable in HOSTS[provider].key_variables:
            if environ.get(variable):
                return f"{provider}:{model}", variable
    return None


def no_model(servers: Sequence[LocalServer]) -> ConfigError:
    """No model is named and no key is set."""
    variables = [HOSTS[provider].key_variables[0] for provider in DEFAULT_MODELS]
    set_one = f"Set {', '.join(variables[:-1])} or {variables[-1]}, or name a model with -m PROVIDER:MODEL."
    return _error("no_model", "No model is configured.", [set_one, *_offers(servers)])


def no_key(host: Host, servers: Sequence[LocalServer]) -> ConfigError:
    """A model is named, but its provider's key is not set."""
    set_it = f"Set {' or '.join(host.key_variables)} in the environment."
    return _error("missing_key", f"There is no API key for {host.label}.", [set_it, *_offers(servers)])


def _offers(servers: Sequence[LocalServer]) -> list[str]:
    """One line per server that was found, with a command that works."""
    lines: list[str] = []
    for server in servers:
        name = f"{server.host.label} runs on this machine"
        if not server.models:
            lines.append(f"{name}, but has no model yet.")
            continue
        more = ", …" if len(server.models) > _MODELS_SHOWN else ""
        listed = ", ".join(server.models[:_MODELS_SHOWN]) + more
        lines.append(f'{name} ({listed}): turnwise -m {server.host.name}:{server.models[0]} "…"')
    return lines


def _error(code: str, message: str, hints: list[str]) -> ConfigError:
    return ConfigError(ErrorInfo("config", code, message, "\n".join(hints)))
