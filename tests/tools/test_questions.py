"""`ask_user`: what may be asked, and what is an answer (E2)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from turnwise.core.errors import SessionError
from turnwise.tools import ArgumentsError, Question, ask_user

FREE = Question("Which city?")
ONE = Question("Which city?", "single_choice", ("Oslo", "Rome"))
MANY = Question("Which cities?", "multiple_choice", ("Oslo", "Rome", "Lima"))


@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        (FREE, "Paris, I think", "Paris, I think"),
        (ONE, "Rome", "Rome"),
        (MANY, ["Rome"], '["Rome"]'),
        (MANY, ("Lima", "Oslo"), '["Lima","Oslo"]'),
        (msgspec.structs.replace(ONE, other=True), "Paris", "Paris"),
        (msgspec.structs.replace(MANY, other=True), ["Rome", "Paris"], '["Rome","Paris"]'),
        (FREE, "half of a pair: \ud83d", "half of a pair: \\ud83d"),
    ],
)
def test_answers(question: Question, answer: Any, told: str) -> None:
    assert ask_user.answered(question, answer) == told


@pytest.mark.parametrize(
    ("question", "answer", "said"),
    [
        (FREE, "  ", "empty"),
        (FREE, 4, "int"),
        (FREE, ["Oslo"], "list"),
        (ONE, "Paris", "'Paris' is not one of the choices"),
        (ONE, "rome", "'rome'"),
        (ONE, ["Rome"], "list"),
        (msgspec.structs.replace(ONE, other=True), "", "empty"),
        (MANY, [], "at least one"),
        (MANY, "Rome", "a list"),
        (MANY, None, "a list"),
        (MANY, ["Rome", "Paris"], "'Paris'"),
        (MANY, ["Rome", "Rome"], "twice"),
    ],
)
def test_what_is_no_answer_is_refused(question: Question, answer: Any, said: str) -> None:
    with pytest.raises(SessionError) as raised:
        ask_user.answered(question, answer)
    assert raised.value.code == "invalid_answer" and said in raised.value.message
    assert question.kind == "free_text" or "Oslo, Rome" in raised.value.hint


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"question":" "}', "empty"),
        ("{}", "question"),
        ('{"question":"a?","kind":"single_choice"}', "2 to 20"),
        ('{"question":"a?","kind":"multiple_choice","choices":["a"]}', "2 to 20"),
        ('{"question":"a?","kind":"single_choice","choices":["a","a"]}', "differ"),
        ('{"question":"a?","kind":"single_choice","choices":["a"," "]}', "differ"),
        ('{"question":"a?","kind":"yes_no"}', "yes_no"),
        ('{"question":"a?","answers":["a","b"]}', "answers"),
    ],
)
def test_questions_that_nobody_could_answer_go_back_to_the_model(arguments: str, said: str) -> None:
    with pytest.raises(ArgumentsError) as raised:
        ask_user.decode(arguments)
    assert said in raised.value.problem


def test_suggestions_may_go_with_a_free_question() -> None:
    asked = ask_user.decode('{"question":"Which city?","choices":["Oslo"]}')
    assert ask_user.answered(asked, "Paris") == "Paris"
