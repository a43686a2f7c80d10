"""What our own table says about a model: a look-up by name, without prices and without the package that knows them.

Cheap enough for the beginning of a turn; `catalogue` has all that is known.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache

from ..core.request import ModelSettings
from .catalogue_names import bare_name
from .catalogue_table import TABLE, Row

UNSTREAMED_TOKENS = 21_333
"""How much may be asked for in one piece. Anthropic wants responses that may take more than ten minutes to be streamed, and counts on
128,000 tokens an hour: https://platform.claude.com/docs/en/api/errors#long-requests."""
ROOM_TOKENS = 4096
"""What is left for the answer, at least, when a thinking budget is given."""


def row_of(provider: str, model: str) -> Row | None:
    """The row of a model, wherever it is served."""
    return own_row(bare_name(provider, model))


@lru_cache(1024)
def own_row(bare: str) -> Row | None:
    """The first row that matches a bare name."""
    return next((row for row in TABLE if any(_matches(bare, pattern) for pattern in row.patterns)), None)


def _matches(bare: str, pattern: str) -> bool:
    """Whether a name fits a glob. Most do not begin alike, and need no pattern to be compiled."""
    return bare.startswith(_WILD.split(pattern, 1)[0]) and fnmatch.fnmatchcase(bare, pattern)


_WILD = re.compile(r"[*?\[]")


def output_bound(provider: str, model: str, settings: ModelSettings, *, streamed: bool) -> int | None:
    """The most that the model can say, in tokens, for APIs that demand a bound; None if that is not known."""
    row = row_of(provider, model)
    most = row.max_output_tokens if row is not None else None
    if most is None or streamed:
        return most
    budget = settings.reasoning.budget_tokens if settings.reasoning is not None else None
    return min(most, max(UNSTREAMED_TOKENS, (budget or 0) + ROOM_TOKENS))
