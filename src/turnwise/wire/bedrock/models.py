"""What the families of models on Bedrock take, as data: how they are told to think, what they cache, what they refuse.

Converse gives all models one form, but passes much of it on to APIs that differ. A model's family is told by its id, wherever
in it the name stands (`us.anthropic.claude-…`, an ARN); ids that say nothing, such as those of application inference profiles,
are asked for nothing special. Sources: the AWS guides https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html,
…/claude-messages-extended-thinking.html, …/claude-messages-adaptive-thinking.html, …/structured-output.html, and
https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from .shapes import ORIGIN

Part = Literal["tools", "system", "messages"]


class Family(msgspec.Struct, frozen=True):
    """One family. `thinks` is how it is told to: `budget` and `adaptive` as Claude is, `nova` and `openai` as those are.

    `takes_budget`, `takes_sampling`: Claude's later versions refuse thinking budgets, and temperature and top_p. `caches` are the parts of
    a request that may hold a cache point. `calls_one`: it can be told to make no parallel calls. `strict`: whether tools may be
    strict. `top_k` is where that goes among the model's own fields.
    """

    name: str = ""
    thinks: Literal["", "budget", "adaptive", "nova", "openai"] = ""
    takes_budget: bool = False
    takes_sampling: bool = True
    has_xhigh: bool = False
    caches: tuple[Part, ...] = ()
    calls_one: bool = False
    strict: bool = True
    top_k: tuple[str, ...] = ()


_ALL: tuple[Part, ...] = ("tools", "system", "messages")
_TOP_K = ("top_k",)

CLAUDE: tuple[tuple[tuple[int, int], Family], ...] = (
    ((4, 7), Family("Claude", "adaptive", False, False, True, _ALL, True, True, _TOP_K)),
    ((4, 6), Family("Claude", "adaptive", True, True, False, _ALL, True, True, _TOP_K)),
    ((4, 5), Family("Claude", "budget", True, True, False, _ALL, True, True, _TOP_K)),
    ((3, 7), Family("Claude", "budget", True, True, False, _ALL, False, False, _TOP_K)),
    ((0, 0), Family("Claude", strict=False, top_k=_TOP_K)),
)
"""Claude by the first version that is so. Caching with 3.5 Sonnet was a preview that is closed; parallel calls can be turned off
since 4.5 (earlier ones refuse the field)."""

NAMED: tuple[tuple[str, Family], ...] = (
    ("claude-3-5-haiku", Family("Claude", caches=_ALL, strict=False, top_k=_TOP_K)),
    ("nova-2-", Family("Nova", "nova", caches=("system",), strict=False, top_k=("inferenceConfig", "topK"))),
    ("amazon.nova-", Family("Nova", caches=("system",), strict=False, top_k=("inferenceConfig", "topK"))),
    ("openai.gpt-", Family("GPT", "openai")),
)
"""Other families by a part of their ids; the first that fits. Nova takes no cache point among tools, nor in a message with tool
results, and caches by itself."""

_VERSION = re.compile(r"claude-(?:[a-z]+-)*?(\d{1,2})(?:-(\d{1,2}))?(?!\d)")
_VENDOR = re.compile(r"(?:(?:us|us-gov|eu|apac|jp|au|ca|sa|me|af|global)\.)?([a-z0-9]+)\.[a-z0-9].*")
_FIRST_CLAUDE = ("claude-v", "claude-instant")
_NEWEST = (5, 0)
"""What a Claude name without a version counts as: only recent previews have none."""


def family_of(model: str) -> Family:
    """The family of a model; one that takes nothing special if its id does not say."""
    name = model.lower()
    for part, family in NAMED:
        if part in name:
            return family
    if "claude" not in name:
        return Family()
    version = _version(name)
    return next(family for since, family in CLAUDE if version >= since)


def origin_of(model: str) -> str:
    """The signature family of a model: its vendor's on Bedrock. What one vendor's model sealed, or ran, another's refuses.

    Claude's seals are said to hold at Anthropic, too; what is around them is not in the same form here, so nothing is shared.
    """
    found = _VENDOR.fullmatch(model.lower().rpartition("/")[2])
    return ORIGIN if found is None else f"{ORIGIN}.{found[1]}"


def _version(name: str) -> tuple[int, int]:
    if any(part in name for part in _FIRST_CLAUDE):
        return 2, 0
    found = _VERSION.search(name)
    return _NEWEST if found is None else (int(found[1]), int(found[2] or 0))
