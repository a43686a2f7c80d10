"""Kinds of arguments: words, durations, sizes."""

from __future__ import annotations

import os
import re
from typing import Any

import click

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_UNITS_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


class Words(click.ParamType[str]):
    """Text. What is not valid in the locale's encoding reaches us with lone surrogates, which neither requests nor stores can carry."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return sound(str(value))


def sound(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "replace")


WORDS = Words()


class Duration(click.ParamType[float]):
    """`30d`, `12h`: seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is no duration such as 30d, 12h or 90m.", param, ctx)
        return float(found[1]) * _UNITS_S[found[2]]


class Size(click.ParamType[int]):
    """`500MB`, `2g`, `1000`: bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is no size such as 500MB or 2GB.", param, ctx)
        return int(float(found[1]) * _UNITS_BYTES[found[2]])
