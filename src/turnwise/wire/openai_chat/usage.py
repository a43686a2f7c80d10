"""Token counts of a Chat Completions response in normal form (rule S4)."""

from __future__ import annotations

import msgspec

from ...core.usage import Provenance, Usage
from .shapes import Counts


def later(earlier: Counts | None, counts: Counts) -> Counts:
    """Counts are cumulative: a later one replaces an earlier one, field by field."""
    if earlier is None:
        return counts
    said = {n: v for n in Counts.__struct_fields__ if (v := getattr(counts, n)) is not None}
    return msgspec.structs.replace(earlier, **said)


def usage_of(counts: Counts, provenance: Provenance) -> Usage | None:
    """The `usage` object in normal form: input with cached tokens, output with reasoning.

    Most hosts count reasoning as output; some count it apart, which the total gives away.
    """
    prompt, completion = counts.prompt_tokens_details, counts.completion_tokens_details
    cached = next(
        (
            n
            for n in (
                None if prompt is None else prompt.cached_tokens,
                counts.prompt_cache_hit_tokens,
                counts.cached_tokens,
                counts.num_cached_tokens,
            )
            if n is not None
        ),
        None,
    )
    written = None if prompt is None else prompt.cache_write_tokens
    reasoning = None if completion is None else completion.reasoning_tokens
    given, made = counts.prompt_tokens, counts.completion_tokens
    if given is None and made is None and cached is None and reasoning is None:
        return None
    if made is not None and given is not None and reasoning and given + made + reasoning == counts.total_tokens:
        made += reasoning
    return Usage(given, made, cached, written, reasoning, provenance)
