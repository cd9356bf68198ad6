"""The conversation that a question is wrapped in, and its ids with a place for the image.

It is LLaVA's ``llava_v1`` (Liu et al., "Visual Instruction Tuning", 2023; two separators), as InteractVLM was trained:

    <system> USER: <im_start><image><im_end>\\n<question> ASSISTANT: <answer></s>USER: ...
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from hoirecon.contact.modeling.contact_tokens import IMAGE_END, IMAGE_START
from hoirecon.contact.prompting.tokenizer import IMAGE_ID, IMAGE_WORD, RESERVED_WORDS, ContactTokenizer, break_words
from hoirecon.errors import InputError

SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the human's questions."
)
"""What every conversation begins with. It says "human", though the speaker is called USER."""
USER, ASSISTANT = "USER", "ASSISTANT"
"""The two speakers."""
AFTER_QUESTION, AFTER_ANSWER = " ", "</s>"
"""What ends a turn of the user, and one of the assistant."""
IMAGE_TURN = f"{IMAGE_START}{IMAGE_WORD}{IMAGE_END}\n"
"""What stands before the first question."""


def inference_prompt(question: str) -> str:
    """The conversation up to the answer: no answer yet and no space after the colon.

    Args:
        question: as :func:`hoirecon.contact.prompting.templates.question` gives it. Words that mean something to the
            model (``[SEG]``, ``<image>``, ``ASSISTANT:``, ...) are broken, for a question never holds one.

    Raises:
        InputError: the question is empty.
    """
    return f"{SYSTEM} {USER}: {IMAGE_TURN}{_question(question)}{AFTER_QUESTION}{ASSISTANT}:"


def training_text(turns: Sequence[tuple[str, str]]) -> str:
    """The whole conversation of (question, answer) pairs; the image belongs to the first question.

    Raises:
        InputError: there is no turn, or a question is empty.
    """
    if not turns:
        raise InputError("a conversation needs at least one question with its answer")
    text = f"{SYSTEM} "
    for i, (question, answer) in enumerate(turns):
        image = "" if i else IMAGE_TURN
        text += f"{USER}: {image}{_question(question)}{AFTER_QUESTION}{ASSISTANT}: {answer}{AFTER_ANSWER}"
    return text


def _question(question: str) -> str:
    if not question.strip():
        raise InputError("the question is empty: take one from the templates, or write one")
    return break_words(question, RESERVED_WORDS)


def image_prompt_ids(tokenizer: ContactTokenizer, text: str) -> list[int]:
    """Ids of a prompt, with -200 where ``<image>`` stands.

    Each stretch beside an image is tokenised on its own; only the first keeps its beginning token.
    """
    first, *others = (tokenizer.encode(chunk) for chunk in text.split(IMAGE_WORD))
    ids = list(first)
    for chunk in others:
        ids += [IMAGE_ID, *chunk[1:]]
    return ids


def split_prefix(ids: Sequence[int]) -> tuple[list[int], list[int]]:
    """Cut a prompt into what every question on one image shares (up to ``<im_end>``, -200 included) and the question.

    The shared part has to go through the language model only once per image: white space after ``<im_end>`` is dropped
    and a new stretch of text begins there, so that no question changes the ids before it.

    Raises:
        InputError: not exactly one image, or nothing after it.
    """
    places = [i for i, token in enumerate(ids) if token == IMAGE_ID]
    if len(places) != 1:
        raise InputError(f"a prompt holds one image, this one holds {len(places)}")
    end = places[0] + 2
    if end > len(ids):
        raise InputError(f"the prompt ends with the image: {IMAGE_END} and a question must follow")
    return list(ids[:end]), list(ids[end:])


def prefix_ids(tokenizer: ContactTokenizer) -> list[int]:
    """Ids that begin every prompt: system text, image, up to ``<im_end>``."""
    return image_prompt_ids(tokenizer, f"{SYSTEM} {USER}: {IMAGE_TURN}")


def question_ids(tokenizer: ContactTokenizer, question: str) -> list[int]:
    """Ids that follow :func:`prefix_ids`: the question and the call for an answer."""
    return split_prefix(image_prompt_ids(tokenizer, inference_prompt(question)))[1]


def readable_answer(decoded: str) -> str:
    """A decoded answer as people write it: no end token, no space before a full stop, no double spaces.

    Control and format characters (Unicode's category C) are dropped: a model's words are printed, and must not steer
    the terminal or turn the direction of writing.

    Example:
        >>> readable_answer("Sure, the contact region is [SEG] .</s>")
        'Sure, the contact region is [SEG].'
    """
    shown = "".join(" " if c.isspace() else c for c in decoded if c.isspace() or unicodedata.category(c)[0] != "C")
    text = " ".join(shown.replace(AFTER_ANSWER, " ").replace("<s>", " ").split())
    for mark in ".,;:!?":
        text = text.replace(f" {mark}", mark)
    return text
