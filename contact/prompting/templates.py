"""Questions and answers that InteractVLM was trained with, as data (Dwivedi et al., "InteractVLM", CVPR 2025).

A template holds ``{class_name}`` (the object), ``{body_parts}`` and ``{affordance}`` (what the answer names) and
``{token}`` (the contact token, spelled as the model's vocabulary has it). The released models were trained on all
questions of their kind; the first of each kind is asked unless you choose another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hoirecon.contact.modeling.contact_tokens import Role
from hoirecon.contact.prompting.tokenizer import neutralise
from hoirecon.errors import InputError

SCENE_WORD = "scene"
"""What the models trained on scenes call the ground and everything that supports the person."""
SUPPORT_WORD = "supporting"
"""What DAMON calls the same thing."""


@dataclass(frozen=True)
class Templates:
    """Questions of one kind, and the answers that were trained to follow any of them."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]


_HUMAN_SIMPLE = Templates(
    questions=(
        "Segment the area on the human's body that is in direct contact with the {class_name} in this image.",
        "Identify and mask the part of the human that is touching or interacting with the {class_name} in this scene.",
        "Show the contact points on the human where they are physically connected to or interacting with {class_name}.",
        "Please provide a segmentation mask of the human's body parts that are in contact with {class_name}.",
        "Highlight the areas on the human where there is physical interaction or contact with {class_name}.",
    ),
    answers=(
        "It is {token}.",
        "Sure, the human contact region is {token}.",
        "Sure, the contact points on human is {token}.",
        "Sure, the contact mask is {token}.",
        "{token}.",
    ),
)

_HUMAN_PARTS = Templates(
    questions=(
        "Which body parts are in contact with the {class_name}? Segment these contact areas.",
        "Name and segment the specific body parts making contact with the {class_name}.",
        "Looking at the {class_name}, what parts of the human body are touching it? Show these contact regions.",
        "For the {class_name}, list and mask the human body parts that are in contact.",
        "Regarding the {class_name}, identify which body parts are touching it and highlight these contact areas.",
    ),
    answers=(
        "The contacting body parts are {body_parts}, and the contact region is {token}.",
        "The involved body parts are {body_parts}, with the contact mask at {token}.",
        "Contact occurs at {body_parts}, with the contact points shown at {token}.",
        "The body parts in contact are {body_parts}, with contact mask at {token}.",
        "Body parts: {body_parts}, contact mask: {token}.",
    ),
)

_OBJECT_SIMPLE = Templates(
    questions=(
        "Segment the area on the {class_name} where the human is making direct contact in this image.",
        "Identify and mask the part of the {class_name} that the human is touching or interacting with in this scene.",
        "Show the contact points on the {class_name} where the human is physically connected to or interacting "
        "with it.",
        "Please provide a segmentation mask of the parts of the {class_name} that are in contact with the human.",
        "Highlight the areas on the {class_name} where there is physical interaction or contact with the human.",
    ),
    answers=(
        "It is {token}.",
        "Sure, the object contact region is {token}.",
        "Sure, the contact points on object is {token}.",
        "Sure, the contact mask is {token}.",
        "{token}.",
    ),
)

_AFFORD_QUESTIONS = (
    "What type of affordance does the human-object interaction suggest? Then, segment the area on the {class_name} "
    "where the human is making contact.",
    "Describe the affordance provided by the interaction, and identify the part of the {class_name} that the human "
    "is touching or interacting with in this scene.",
    "Explain the affordance type shown by the contact points on the {class_name} where the human is physically "
    "connected. Then show the segmentation mask.",
    "Specify the affordance implied by the human's contact with the {class_name}, then provide a segmentation mask "
    "of the contact area.",
    "Describe the affordance associated with the physical interaction on the {class_name}, and highlight the contact "
    "areas with a segmentation mask.",
)
_AFFORD_ANSWERS = (
    "The affordance type is {affordance}, and the contact region is {token}.",
    "This interaction suggests an affordance of {affordance}, and the object contact region is {token}.",
    "The contact points indicate an affordance of {affordance}, with the mask at {token}.",
    "This shows an affordance type of {affordance}, with contact at {token}.",
    "Affordance: {affordance}, contact mask: {token}.",
)
_AFFORD_OBJ_ANSWERS = tuple(a.replace("{affordance}", "{affordance} with {class_name}") for a in _AFFORD_ANSWERS)

_SEGMENT_ANSWERS = (
    "It is {token}.",
    "Sure, {token}.",
    "Sure, it is {token}.",
    "Sure, the segmentation result is {token}.",
    "{token}.",
)
_SEGMENT = Templates(
    questions=(
        "Can you segment the {class_name} in this image?",
        "Please segment the {class_name} in this image.",
        "What is {class_name} in this image? Please respond with segmentation mask.",
        "What is {class_name} in this image? Please output segmentation mask.",
    ),
    answers=_SEGMENT_ANSWERS,
)
_SENTENCE = Templates(
    questions=(
        "{class_name} Please respond with segmentation mask.",
        "{class_name} Please output segmentation mask.",
    ),
    answers=_SEGMENT_ANSWERS,
)

TEMPLATES: Mapping[Role, Mapping[str, Templates]] = {
    "human": {"simple": _HUMAN_SIMPLE, "parts": _HUMAN_PARTS},
    "object": {
        "simple": _OBJECT_SIMPLE,
        "afford": Templates(_AFFORD_QUESTIONS, _AFFORD_ANSWERS),
        "afford_obj": Templates(_AFFORD_QUESTIONS, _AFFORD_OBJ_ANSWERS),
    },
    "general": {"segment": _SEGMENT, "sentence": _SENTENCE},
}
"""By role and kind. ``sentence`` is LISA's for a whole sentence in the place of the name."""

# fmt: off
PIAD_AFFORDANCES = (
    "grasp", "contain", "lift", "open", "lay", "sit", "support", "wrapgrasp", "pour", "move", "display", "push",
    "listen", "wear", "press", "cut", "stab",
)
"""PIAD's affordances, in the order of its columns."""
LEMON_AFFORDANCES = (
    "grasp", "lift", "open", "lay", "sit", "support", "wrapgrasp", "pour", "move", "pull", "listen", "press", "cut",
    "stab", "ride", "play", "carry",
)
"""LEMON's affordances, in the order of its columns."""
# fmt: on
AFFORDANCES = tuple(dict.fromkeys(PIAD_AFFORDANCES + LEMON_AFFORDANCES))
"""Every affordance of either."""

VQA_QUESTIONS = (
    "Describe the human in terms of clothing, appearance or any distinctive feature.",
    "What part of the human's body is in contact with the {class_name}?",
    "Describe the interaction of human with {class_name}?",
    "Can you describe the {class_name} in terms of shape, color or distinctive feature?",
    "Which part of the {class_name} is in contact with human?",
)
"""Questions that are answered in words alone."""

_AFFORD_DEMO = f'"{_AFFORD_QUESTIONS[0]}",'  # the released demo asks it with these quotes and this comma
DEMO_PROMPTS: Mapping[str, tuple[str, str]] = {
    "hcontact": (_HUMAN_PARTS.questions[0], _HUMAN_PARTS.questions[0]),
    "hcontact-wScene": (_HUMAN_PARTS.questions[0], _HUMAN_PARTS.questions[0]),
    "h2dcontact": (_HUMAN_SIMPLE.questions[0], _HUMAN_SIMPLE.questions[0]),
    "oafford": (_AFFORD_QUESTIONS[0], _AFFORD_DEMO),
    "ocontact": (_AFFORD_QUESTIONS[0], _AFFORD_DEMO),
}
"""What the released demo asks by its type of contact: as meant, and letter by letter."""


def object_word(name: str) -> str:
    """An object's name as the models were trained to read it: lower case, underscores for spaces, nothing harmful.

    Raises:
        InputError: empty, or longer than any name.

    Example:
        >>> object_word("Tennis  Racket")
        'tennis_racket'
    """
    return neutralise(neutralise(name).lower().replace(" ", "_"))


def templates(role: Role, kind: str) -> Templates:
    """Questions and answers of one kind.

    Raises:
        InputError: there is no such kind for this role.
    """
    kinds = TEMPLATES.get(role, {})
    if kind not in kinds:
        known = "; ".join(f"{r}: {', '.join(ks)}" for r, ks in TEMPLATES.items())
        raise InputError(f"there are no questions of kind '{kind}' for '{role}': choose one of {known}")
    return kinds[kind]


def question(
    role: Role, kind: str, object_name: str, index: int = 0, *, released_demo_prompt: bool = False, raw: bool = False
) -> str:
    """One question on an object, as the model was trained to be asked.

    Args:
        role: what is asked for: ``human``, ``object`` or ``general``.
        kind: ``simple`` or ``parts``; ``simple``, ``afford`` or ``afford_obj``; ``segment`` or ``sentence``.
        object_name: any spelling; a whole sentence for kind ``sentence``.
        index: which of the questions, from 0.
        released_demo_prompt: put the first question on affordance in double quotes and a comma, as the released demo
            does by mistake; needed to repeat its numbers letter by letter. Nothing else changes.
        raw: keep case and spaces of the name (it is made harmless all the same).

    Raises:
        InputError: an unknown kind or index, or a name that cannot be used.
    """
    asked = templates(role, kind).questions
    if not 0 <= index < len(asked):
        raise InputError(f"'{role}' has {len(asked)} questions of kind '{kind}', from 0: there is no number {index}")
    template = asked[index]
    if released_demo_prompt and template == _AFFORD_QUESTIONS[0]:
        template = _AFFORD_DEMO
    keeps_case = raw or kind == "sentence"
    return fill(template, {"class_name": neutralise(object_name) if keeps_case else object_word(object_name)})


def demo_question(contact_type: str, object_name: str, released_demo_prompt: bool = True) -> str:
    """The question that the released demo asks.

    Args:
        contact_type: ``hcontact``, ``hcontact-wScene``, ``h2dcontact``, ``oafford`` or ``ocontact``.
        object_name: any spelling.
        released_demo_prompt: letter by letter; else without its slip of quotes and comma.

    Raises:
        InputError: an unknown type, or a name that cannot be used.
    """
    if contact_type not in DEMO_PROMPTS:
        raise InputError(f"there is no contact type '{contact_type}': choose {', '.join(DEMO_PROMPTS)}")
    return fill(DEMO_PROMPTS[contact_type][released_demo_prompt], {"class_name": object_word(object_name)})


def answers(
    role: Role, kind: str, object_name: str, token: str, parts: Sequence[str] = (), affordance: str = ""
) -> tuple[str, ...]:
    """Every answer of one kind, for training.

    Args:
        role: as for :func:`question`.
        kind: as for :func:`question`.
        object_name: any spelling.
        token: the contact token's spelling, e.g. from ``ContactTokens.word_of(role)``.
        parts: names of the body parts in contact; needed by kind ``parts``.
        affordance: needed by the kinds of affordance.

    Raises:
        InputError: something that the answers need is not given.
    """
    values = {"token": token, "body_parts": ", ".join(parts), "affordance": affordance}
    values["class_name"] = neutralise(object_name) if kind == "sentence" else object_word(object_name)
    texts = templates(role, kind).answers
    for name, value in values.items():
        if not value and any("{" + name + "}" in text for text in texts):
            raise InputError(f"answers of kind '{kind}' name {name.replace('_', ' ')}, but none is given")
    return tuple(fill(text, values) for text in texts)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values in a template's places, once: braces in a value stay letters."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)
