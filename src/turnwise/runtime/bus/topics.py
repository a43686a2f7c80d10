"""Topics and the patterns that choose among them. Words stand between dots; `*` is any one word, `**` one word or more.

Matching is done once per topic and remembered by the bus, so here it may take its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...core.errors import config_error

ONE, SOME = "*", "**"


def patterns_of(given: str | Iterable[str]) -> tuple[str, ...]:
    """The patterns that a subscriber gave, one or several. Raises `ConfigError` (`invalid_pattern`)."""
    patterns = (given,) if isinstance(given, str) else tuple(given)
    if not patterns:
        raise config_error("invalid_pattern", "There is no pattern, so nothing would ever come.", "Use '**' for all.")
    for pattern in patterns:
        for word in pattern.split("."):
            if word not in (ONE, SOME) and not is_word(word):
                raise config_error(
                    "invalid_pattern",
                    f"{pattern!r} is no pattern: {word!r} is neither a word nor a wildcard.",
                    "Write words with dots between them; '*' stands for one word, '**' for one or more: 'tool.*', '*.error', 'status.**'.",
                )
    return patterns


def is_word(word: str) -> bool:
    """Whether this can stand between two dots of a topic."""
    return bool(word) and "*" not in word and not any(map(str.isspace, word))


def is_topic(topic: object) -> bool:
    """Whether anything can be published under this."""
    return isinstance(topic, str) and all(map(is_word, topic.split(".")))


def matches(patterns: Sequence[str], topic: str) -> bool:
    """Whether any of the patterns fits."""
    words = topic.split(".")
    return any(pattern == topic or (ONE in pattern and _fits(pattern.split("."), words)) for pattern in patterns)


def _fits(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Follows all ways to read the pattern at once, so that no pattern takes long."""
    at = {0}
    for wanted in pattern:
        if wanted == SOME:
            at = set(range(min(at) + 1, len(words) + 1))
        else:
            at = {n + 1 for n in at if n < len(words) and wanted in (ONE, words[n])}
        if not at:
            return False
    return len(words) in at
