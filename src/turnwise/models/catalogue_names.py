"""One model, many names: the names to look it up by, and what providers are called in the data of `genai-prices`. Pure data and
string work.

Bedrock's inference profiles put a region before the id and a version after it, Vertex paths and ARNs stand around it, routers
name the vendor first.
"""

from __future__ import annotations

import re

PRICE_PROVIDERS: dict[str, str] = {
    "openai-responses": "openai",
    "gemini": "google",
    "vertex": "google",
    "bedrock": "aws",
    "azure-responses": "azure",
    "xai": "x-ai",
    "moonshot": "moonshotai",
    "vertex_ai": "google",
    "voyage": "voyageai",
}
"""Where a provider's name there is not ours, or not LiteLLM's."""

LISTED_AS: dict[str, re.Pattern[str]] = {
    "gemini": re.compile("(?!claude)"),
    "openrouter": re.compile(".+/"),
}
"""What names look like at a provider, where its rows there have others, too: of what only Vertex serves, or of former times."""

_REGION = re.compile(r"(?:us|us-gov|eu|apac|global|jp|au|ca|in|sa|me|af|il|kr|uk|mx)\.(?=[a-z0-9-]+\.)")
_VENDOR = re.compile(
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshotai|moonshot|nvidia|openai|qwen|writer|zai)\."
)
_VERSION = re.compile(r"(?:-v\d+)?(?::\d+(?:k|:\d+k?)?)?$|@[\w-]+$")
_PATHS = ("arn:", "projects/", "publishers/", "models/", "accounts/", "tunedmodels/")


def price_provider(provider: str, model: str) -> str:
    """The provider of the data whose prices hold. Hugging Face's router names the one that serves the model after a colon, a LiteLLM
    proxy may name it before a slash."""
    if provider == "huggingface":
        return f"huggingface_{model.rpartition(':')[2].lower()}"
    if provider == "litellm":
        provider = model.partition("/")[0].lower()
    return PRICE_PROVIDERS.get(provider, provider)


def names_of(provider: str, model: str) -> tuple[str, ...]:
    """The names to look a model up by, the most exact one first."""
    name = model.lower()
    if provider == "litellm" and "/" in name:
        inner, _, rest = name.partition("/")
        return tuple(dict.fromkeys((name, *names_of(inner, rest))))
    last = name.rpartition("/")[2] if name.startswith(_PATHS) else name
    out = [name, last, _REGION.sub("", last, 1) if _REGION.match(last) else last]
    if provider == "huggingface":
        out.append(name.rpartition(":")[0])
    return tuple(dict.fromkeys([one for one in out if one]))


def bare_name(provider: str, model: str) -> str:
    """What is left of a name when all that says where and by whom the model is served is taken off."""
    name = names_of(provider, model)[-1].rpartition("/")[2]
    if vendor := _VENDOR.match(name):
        name = name[vendor.end() :]
        return _VERSION.sub("", name, 1)
    if provider in ("openrouter", "huggingface"):
        return name.partition(":")[0]
    return name.partition("@")[0]
