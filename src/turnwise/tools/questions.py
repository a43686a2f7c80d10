"""`ask_user`: the model asks the user, who answers when they like. What an answer is, is checked here; how it comes in is in `runtime`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, cast

import msgspec

from ..core.errors import ErrorInfo, SessionError
from .external import external_tool
from .results import well_formed

MAX_CHOICES = 20


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model asks. `other`: an answer in the user's own words is welcome although there are choices."""

    question: str
    kind: Literal["free_text", "single_choice", "multiple_choice"] = "free_text"
    choices: tuple[str, ...] = ()
    other: bool = False

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise ValueError("The question is empty")
        if self.kind == "free_text":
            return
        if not 2 <= len(self.choices) <= MAX_CHOICES:
            raise ValueError(f"A question with choices needs 2 to {MAX_CHOICES} of them, got {len(self.choices)}")
        if len(set(self.choices)) < len(self.choices) or not all(c.strip() for c in self.choices):
            raise ValueError("The choices must not be empty and must differ from each other")


def answer_text(question: Question, answer: Any) -> str:
    """What the model is told. An answer is text (one of the choices, for a single choice) or, for a multiple choice, a list of
    choices, at least one. Raises `SessionError` (`invalid_answer`) for anything else; the question then stays open."""
    if question.kind == "multiple_choice":
        if isinstance(answer, str) or not isinstance(answer, Collection) or not answer:
            raise _invalid("a multiple choice is answered with a list of at least one choice", question)
        chosen = [_checked(question, one) for one in cast("Collection[object]", answer)]
        if len(set(chosen)) < len(chosen):
            raise _invalid("a choice is in it twice", question)
        return msgspec.json.encode(chosen).decode()
    return _checked(question, answer)


def _checked(question: Question, answer: object) -> str:
    if not isinstance(answer, str) or not answer.strip():
        raise _invalid(f"it is {'empty' if isinstance(answer, str) else type(answer).__name__}, not text", question)
    if question.kind != "free_text" and not question.other and answer not in question.choices:
        raise _invalid(f"{answer[:80]!r} is not one of the choices", question)
    return well_formed(answer)


def _invalid(problem: str, question: Question) -> SessionError:
    choices = f" The choices are: {', '.join(question.choices)}." if question.kind != "free_text" else ""
    return SessionError(
        ErrorInfo("session", "invalid_answer", f"This does not answer the question: {problem}.", f"Ask again.{choices}")
    )


ask_user = external_tool(
    "ask_user",
    "Ask the user a question and wait for the answer. Use it for what only the user can know or decide. "
    "kind: free_text for an answer in their own words; single_choice or multiple_choice to offer choices, with other=true if "
    "an answer of their own is welcome too.",
    Question,
    kind="question",
    answer=answer_text,
    category="user",
)
