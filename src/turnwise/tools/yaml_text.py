"""YAML, which is read with PyYAML if that is installed (extra `yaml`). The one place that knows it.

Read as what JSON can carry: dates stay text, and only `true` and `false` are booleans (a key `on` or `no` stays what it is).
"""

# pyright: reportMissingTypeStubs=false, reportMissingModuleSource=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedBaseClass=false

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ..core.errors import config_error


def from_yaml(text: str) -> Any:
    """The data in a YAML text. Raises `ConfigError` (`missing_extra`) without PyYAML, `ValueError` naming line and column for what is no YAML."""
    try:
        import yaml
    except ImportError:
        raise config_error(
            "missing_extra", "Reading YAML needs PyYAML.", "Install it: pip install 'turnwise[yaml]', or give JSON."
        ) from None
    try:
        return yaml.load(text, _loader())
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


@cache
def _loader() -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class JsonLoader(base):
        """Safe: makes nothing but plain data."""

    kept = ("timestamp", "bool")
    JsonLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag.rpartition(":")[2] not in kept]
        for first, rules in base.yaml_implicit_resolvers.items()
    }
    JsonLoader.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
    )
    return JsonLoader
