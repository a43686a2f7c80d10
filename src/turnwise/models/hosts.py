"""Providers by name: where they are, how they want the key, which environment variables their users already have.

Data only. How a host's requests differ from its API's standard is in its `profile` (wire/profile.py).
"""

from __future__ import annotations

import msgspec


class Host(msgspec.Struct, frozen=True):
    """One provider.

    `key_variables` and `url_variables` are looked up in order; `auth` names the header that carries the key. `endpoint` names the
    module of `models` that works out address and credentials where a base URL and a key are not enough, `options` is the
    prefix of the connection's fields that it reads. `models_path` is where the host lists its models, if it does.
    """

    name: str
    api: str
    base_url: str
    auth: str = "bearer"
    key_variables: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    needs_key: bool = True
    profile: str = ""
    local: bool = False
    label: str = ""
    endpoint: str = ""
    options: str = ""
    models_path: str = "/models"


HOSTS: dict[str, Host] = {
    host.name: host
    for host in (
        Host(
            "anthropic",
            "anthropic.messages",
            "https://api.anthropic.com",
            "x-api-key",
            ("ANTHROPIC_API_KEY",),
            ("ANTHROPIC_BASE_URL",),
            label="Anthropic",
            models_path="/v1/models",
        ),
        Host(
            "openai",
            "openai.chat",
            "https://api.openai.com/v1",
            "bearer",
            ("OPENAI_API_KEY",),
            ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
            profile="openai",
            label="OpenAI",
        ),
        Host(
            "ollama",
            "openai.chat",
            "http://127.0.0.1:11434/v1",
            needs_key=False,
            profile="compatible",
            local=True,
            label="Ollama",
        ),
        Host(
            "lmstudio",
            "openai.chat",
            "http://127.0.0.1:1234/v1",
            needs_key=False,
            profile="compatible",
            local=True,
            label="LM Studio",
        ),
        Host(
            "llamacpp",
            "openai.chat",
            "http://127.0.0.1:8080/v1",
            needs_key=False,
            profile="compatible",
            local=True,
            label="llama.cpp server",
        ),
    )
}
