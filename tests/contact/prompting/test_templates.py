"""Templates have the places they need, names are made harmless, and answers are read back as they were made."""

from __future__ import annotations

import itertools
import re

import pytest

from hoirecon.contact.prompting.parts import affordance_named, named_parts
from hoirecon.contact.prompting.templates import (
    AFFORDANCES,
    LEMON_AFFORDANCES,
    PIAD_AFFORDANCES,
    TEMPLATES,
    answers,
    demo_question,
    fill,
    object_word,
    question,
    templates,
)
from hoirecon.errors import InputError

KINDS = [(role, kind) for role, kinds in TEMPLATES.items() for kind in kinds]


@pytest.mark.parametrize(("role", "kind"), KINDS)
def test_places_of_every_template(role: str, kind: str) -> None:
    given = templates(role, kind)
    for text in given.questions:
        assert re.findall(r"\{(\w+)\}", text) == ["class_name"]
    named = {"parts": {"body_parts"}, "afford": {"affordance"}, "afford_obj": {"affordance", "class_name"}}
    for text in given.answers:
        assert text.count("{token}") == 1
        assert set(re.findall(r"\{(\w+)\}", text)) == named.get(kind, set()) | {"token"}
    assert len(given.answers) == 5
    assert len(set(given.questions)) == len(given.questions)
    assert "  " not in " ".join([*given.questions, *given.answers])


def test_letter_by_letter() -> None:
    assert question("human", "parts", "tennis racket") == (
        "Which body parts are in contact with the tennis_racket? Segment these contact areas."
    )
    assert question("human", "simple", "bottle") == demo_question("h2dcontact", "bottle")
    assert answers("object", "afford_obj", "Bottle", "[OSEG]", affordance="grasp")[0] == (
        "The affordance type is grasp with bottle, and the contact region is [OSEG]."
    )
    assert answers("human", "parts", "cup", "[SEG]", ["left hand", "head"])[4] == (
        "Body parts: left hand, head, contact mask: [SEG]."
    )
    assert answers("general", "segment", "cup", "[SEG]")[1] == "Sure, [SEG]."
    assert question("general", "sentence", "Where does she hold it?", 1) == (
        "Where does she hold it? Please output segmentation mask."
    )
    assert question("human", "parts", "Hair Drier", raw=True).startswith(
        "Which body parts are in contact with the Hair "
    )


def test_the_demos_slip_of_quotes_is_a_switch() -> None:
    plain = question("object", "afford", "bottle")
    slip = question("object", "afford", "bottle", released_demo_prompt=True)
    assert slip == f'"{plain}",' == demo_question("oafford", "bottle") == demo_question("ocontact", "bottle")
    assert demo_question("oafford", "bottle", released_demo_prompt=False) == plain
    for role, kind, index in (("object", "afford", 1), ("object", "simple", 0), ("human", "parts", 0)):
        assert question(role, kind, "x", index) == question(role, kind, "x", index, released_demo_prompt=True)


def test_names_are_made_harmless() -> None:
    assert object_word("  Sports\nBall ") == "sports_ball"
    assert "<image>" not in question("human", "parts", "<IMAGE>cup")
    assert question("human", "parts", "{body_parts}").count("{body_parts}") == 1  # braces are letters
    assert fill("{a} {b} {c}", {"a": "{b}", "b": "x"}) == "{b} x {c}"
    for bad in ("", " ", "x" * 201):
        with pytest.raises(InputError, match="object's name"):
            question("human", "parts", bad)


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(InputError, match=r"kind 'parts' for 'object': choose one of human: simple, parts"):
        question("object", "parts", "cup")
    for index in (-1, 5):
        with pytest.raises(InputError, match="5 questions of kind"):
            question("human", "parts", "cup", index)
    with pytest.raises(InputError, match="no contact type"):
        demo_question("acontact", "cup")
    with pytest.raises(InputError, match="name body parts"):
        answers("human", "parts", "cup", "[SEG]")
    with pytest.raises(InputError, match="name affordance"):
        answers("object", "afford", "cup", "[SEG]")
    with pytest.raises(InputError, match="name token"):
        answers("object", "simple", "cup", "")


def test_affordance_lists() -> None:
    assert len(PIAD_AFFORDANCES) == len(set(PIAD_AFFORDANCES)) == 17
    assert len(LEMON_AFFORDANCES) == len(set(LEMON_AFFORDANCES)) == 17
    assert set(AFFORDANCES) == {*PIAD_AFFORDANCES, *LEMON_AFFORDANCES}
    assert PIAD_AFFORDANCES[7] == LEMON_AFFORDANCES[6] == "wrapgrasp"


@pytest.mark.parametrize("style", ["plain", "decoded", "shouted"])
def test_parts_are_read_back_from_every_answer(style: str) -> None:
    parts = ["left hand", "right hand", "left foot", "head"]
    for chosen in itertools.chain(*(itertools.permutations(parts, n) for n in (1, 2, 3))):
        for text in answers("human", "parts", "hand bag", "[HSEG]", chosen):
            said = {"plain": text, "decoded": text.replace("[HSEG].", "[HSEG] .</s>"), "shouted": text.upper()}[style]
            assert named_parts(said, parts) == chosen
            listed = tuple(part.upper() for part in chosen) if style == "shouted" else chosen
            assert named_parts(said) == listed


def test_parts_with_any_spelling() -> None:
    known = ["hand", "left_hand", "leftHandIndex1", "left foot", "foot", "hips"]
    assert named_parts("It touches the Left-Hand, left hand index1 and FEET.", known) == ("left_hand", "leftHandIndex1")
    assert named_parts("left hands; left  foot; hand", known) == ("left_hand", "left foot", "hand")
    assert named_parts("leftfoot football handle shiphips", known) == ("left foot",)
    assert named_parts("left_foot, left_foot", known) == ("left foot",)
    assert named_parts("", known) == named_parts("nothing at all", known) == ()
    assert named_parts("Sure, it is [SEG].") == ()
    assert named_parts("a.b (c)", ["a.b", "(c)", " "])[:1] == ("a.b",)


@pytest.mark.parametrize(
    ("listed", "known", "expected"),
    [
        ("head, left hand", ["left_hand"], ("head", "left_hand")),
        ("Left-Hands, Head", ["head"], ("Left-Hands", "head")),
        ("the left hand and both feet", ["left hand", "foot"], ("left hand", "both feet")),
        ("left hand palm, left hand", ["left hand"], ("left hand palm", "left hand")),
        ("left hand index", ["left hand", "left hand index"], ("left hand index",)),
        ("left hand; right hand, tail", ["left hand", "right hand"], ("left hand", "right hand", "tail")),
        ("arm and shoulder, head", ["head", "arm and shoulder"], ("arm and shoulder", "head")),
        ("hips, tail, hip, tail", ["hip"], ("hip", "tail")),
    ],
)
def test_a_listed_part_is_not_dropped_for_being_unknown(
    listed: str, known: list[str], expected: tuple[str, ...]
) -> None:
    for text in answers("human", "parts", "bag", "[HSEG]", (listed,)):
        assert named_parts(text, known) == expected


@pytest.mark.parametrize("kind", ["afford", "afford_obj"])
def test_affordances_are_read_back(kind: str) -> None:
    for affordance in AFFORDANCES:
        for text in answers("object", kind, "move sit chair", "[OSEG]", affordance=affordance):
            assert affordance_named(text) == affordance
            assert affordance_named(text.replace(" ", "  ").lower()) == affordance
    assert affordance_named("One can sit on it.") == "sit"
    assert affordance_named("The affordance type is fly, and the contact region is [SEG].") == ""
    assert affordance_named("site opening") == ""
