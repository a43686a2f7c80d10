"""Our call ids in the forms that hosts of the Chat Completions API accept; different ids stay different (rule T4).

A mapping once sent never changes: it goes by the id alone. Lengths: OpenAI refuses call ids of more than 40 characters;
Mistral takes exactly nine letters and digits (https://docs.mistral.ai/capabilities/function_calling).
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256

MAX_PLAIN_CHARS = 40
_PLAIN = re.compile(r"[A-Za-z0-9.]{1,40}")
_OURS = re.compile(r"t(0|[1-9]\d{0,7})\.s(0|[1-9]\d{0,5})\.c(0|[1-9]\d{0,3})")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@lru_cache(4096)
def plain_id(call_id: str) -> str:
    """`t3.s1.c0` as `t3_s1_c0`. Ids that the engine did not make and that would not fit become a digest with a `-` in
    front, which no mapped id has."""
    if _PLAIN.fullmatch(call_id):
        return call_id.replace(".", "_")
    return f"-{sha256(call_id.encode('utf-8', 'surrogatepass')).hexdigest()[: MAX_PLAIN_CHARS - 1]}"


def nine_id(call_id: str) -> str:
    """Nine letters and digits. The engine's ids are written in base 62: four digits for the turn, three for the step, two for the
    call, of which the first is no capital. Everything else is a digest that begins with one."""
    ours = _OURS.fullmatch(call_id)
    if ours is not None:
        turn, step, call = (int(n) for n in ours.groups())
        if turn < 36 * 62**3 and step < 62**3 and call < 62**2:
            return _digits(turn, 4) + _digits(step, 3) + _digits(call, 2)
    number = int.from_bytes(sha256(call_id.encode("utf-8", "surrogatepass")).digest()[:16])
    return _DIGITS[36 + number % 26] + _digits(number // 26 % 62**8, 8)


def _digits(number: int, width: int) -> str:
    out = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        out = _DIGITS[digit] + out
    return out
