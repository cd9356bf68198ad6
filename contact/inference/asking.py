"""What the language model is asked: the template that the weights were trained with, or the user's own words."""

from __future__ import annotations

from hoirecon.contact.inference.queries import Kind, Query
from hoirecon.contact.inference.settings import EstimatorConfig
from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.contact.modeling.contact_tokens import Role
from hoirecon.contact.prompting.templates import object_word
from hoirecon.contact.prompting.templates import question as template
from hoirecon.contact.prompting.tokenizer import ContactTokenizer
from hoirecon.errors import InputError

ANY_THING = "object"
"""What a thing is called whose name is not told, or not known."""
MAX_QUESTION = 600
"""Longest question in own words, characters."""
MESH_CONTACT = "_BM"
"""Part of the names of view tables of weights that learned contact on meshes, which was asked in simple words only."""
NAME_PLACE = "{object}"
"""Where the object's name goes in own words."""


def question_of(query: Query, tokenizer: ContactTokenizer, trained: NetworkConfig, config: EstimatorConfig) -> str:
    """The question of a query, harmless whatever the user wrote.

    Raises:
        InputError: a name or a question that is empty, too long, or no text.
    """
    if query.question is not None:
        return _own_words(query.question, tokenizer.neutralise(query.label), tokenizer)
    role, kind = template_of(query.kind, trained, config)
    demo = config.released_demo_prompt
    return template(role, kind, query.label, config.question_index, released_demo_prompt=demo)


def _own_words(question: str, name: str, tokenizer: ContactTokenizer) -> str:
    if not isinstance(question, str) or not any(c.isalnum() for c in question):
        raise InputError(
            f"a question is a text with words, got {str(question)[:40]!r}: leave it out for the template's"
        )
    asked = question.replace(NAME_PLACE, name)
    if len(asked) > MAX_QUESTION:
        raise InputError(f"a question of {len(asked)} characters is too long, the limit is {MAX_QUESTION}: shorten it")
    return tokenizer.neutralise(asked, limit=MAX_QUESTION)


def template_of(kind: Kind, trained: NetworkConfig, config: EstimatorConfig) -> tuple[Role, str]:
    """Whose questions, and which of them."""
    if kind == "image":
        return "human", "simple"
    if kind == "human":
        return "human", trained.human_questions if config.human_questions == "auto" else config.human_questions
    if config.object_questions != "auto":
        return "object", config.object_questions
    if kind == "affordance":
        return "object", "afford"
    return "object", "simple" if MESH_CONTACT in trained.object_views else trained.object_questions


def word_of(name: str, tokenizer: ContactTokenizer) -> int:
    """Id of the one word that an object's name is in the vocabulary; that of :data:`ANY_THING` if it has none or
    several.

    Raises:
        InputError: a name that cannot be used.
    """
    for text in (object_word(name), ANY_THING):
        ids = tokenizer.encode(text, bos=False)
        if len(ids) == 1:
            return ids[0]
    return tokenizer.unk_id
