"""YAML with its lines: PyYAML (extra `yaml`) reads it, its marks say where each key stands. Keys that occur twice are mistakes here.

Only plain data is read: no tag makes an object.
"""

from __future__ import annotations

from typing import Any, cast

from ...core.errors import config_error
from .problems import Path
from .settings import Fault

_MOST_NODES = 20_000


class YamlError(Exception):
    """The text is not YAML, or more of it than a configuration needs. `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def read_yaml(text: str) -> tuple[object, dict[Path, int], list[tuple[int, Fault]]]:
    """The data, the line of every key and element by its path, and keys that are there twice with the line of the second one. Raises
    `YamlError`, and `ConfigError` (`missing_extra`) without PyYAML."""
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise config_error(
            "missing_extra",
            "Reading YAML needs PyYAML.",
            "Install it with: pip install 'turnwise[yaml]'. TOML needs nothing.",
        ) from error
    loader: Any = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {(): 1}, []
        outline = _Outline(yaml)
        outline.walk(node, ())
        return loader.construct_document(node), outline.lines, outline.twice
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join([part for part in (error.context, error.problem) if part])
        raise YamlError(f"is not YAML: {said}", mark.line + 1 if mark is not None else 1) from error
    except yaml.YAMLError as error:
        raise YamlError(f"is not YAML: {str(error).splitlines()[0]}", 1) from error
    finally:
        loader.dispose()


class _Outline:
    """Where the keys of a document are."""

    def __init__(self, yaml: Any) -> None:
        self._yaml = yaml
        self._seen = 0
        self._above: set[int] = set()
        self.lines: dict[Path, int] = {}
        self.twice: list[tuple[int, Fault]] = []

    def walk(self, node: Any, path: Path) -> None:
        """Anchors that multiply, or that contain themselves, are refused: a configuration is small."""
        line = node.start_mark.line + 1
        self._seen += 1
        if self._seen > _MOST_NODES or id(node) in self._above:
            raise YamlError("is too large, or contains itself", line)
        self.lines.setdefault(path, line)
        self._above.add(id(node))
        if isinstance(node, self._yaml.MappingNode):
            self._keys(node, path)
        elif isinstance(node, self._yaml.SequenceNode):
            for number, value in enumerate(cast("list[Any]", node.value)):
                self.walk(value, (*path, number))
        self._above.discard(id(node))

    def _keys(self, node: Any, path: Path) -> None:
        said: set[str] = set()
        for key, value in cast("list[tuple[Any, Any]]", node.value):
            if not isinstance(key, self._yaml.ScalarNode):
                raise YamlError("has a key that is no string", key.start_mark.line + 1)
            if key.tag == "tag:yaml.org,2002:merge":
                self.walk(value, (*path, "<<"))
                continue
            name, line = str(key.value), key.start_mark.line + 1
            if name in said:
                self.twice.append((line, Fault((*path, name), "is there twice")))
            said.add(name)
            self.lines[(*path, name)] = line
            self.walk(value, (*path, name))
