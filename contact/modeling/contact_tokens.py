"""Contact tokens: the words by which the language model hands a region over to MV-Loc.

The paper writes ``<HCON>`` and ``<OCON>``; the checkpoints write ``[SEG]``, ``[HSEG]``, ``[OSEG]`` or ``[ISEG]``. Here
they are one concept: a token speaks of a :data:`Role` (``human``, ``object`` or ``general``), and this file alone knows
how checkpoints spell it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hoirecon.errors import InputError

Role = Literal["general", "human", "object"]
"""What a contact token speaks of: anything in the image, the body, or the object."""

SEPARATE_DECODERS = "-DifDe"
"""Suffix of a checkpoint's token type that says: own mask decoders for human and object."""

SPELLINGS: dict[str, dict[Role, str]] = {
    "Gen": {"general": "[SEG]"},
    "Gen-Int": {"general": "[SEG]", "human": "[ISEG]", "object": "[ISEG]"},
    "Gen-Hu-Obj": {"general": "[SEG]", "human": "[HSEG]", "object": "[OSEG]"},
}
"""Checkpoints' token types, and the word of each role; a role without a word is answered by the general one."""

IMAGE_START, IMAGE_END = "<im_start>", "<im_end>"
"""Words round the image in a prompt."""


@dataclass(frozen=True)
class ContactTokens:
    """Ids of the contact tokens in one vocabulary; the defaults are those of LISA's, which no checkpoint must share.

    Example:
        >>> ContactTokens(general=90, human=91, object=92, token_type="Gen-Hu-Obj").role_of(92)
        'object'
    """

    general: int = 32000
    """Id of ``[SEG]``."""
    human: int | None = None
    """Id of the token for bodies; None if the general one serves."""
    object: int | None = None
    """Id of the token for objects; None if the general one serves, equal to ``human`` in ``Gen-Int``."""
    token_type: str = "Gen"
    """The checkpoint's name of this set, without the suffix for decoders."""

    def __post_init__(self) -> None:
        if self.token_type not in SPELLINGS:
            raise InputError(f"there is no token type '{self.token_type}': choose {', '.join(SPELLINGS)}")
        if (self.human is None) != (self.token_type == "Gen") or (self.object is None) != (self.human is None):
            raise InputError(
                f"token type '{self.token_type}' does not go with the ids human={self.human}, object={self.object}"
            )

    @property
    def ids(self) -> tuple[int, ...]:
        """Every contact token's id, once."""
        return tuple(dict.fromkeys(i for i in (self.general, self.human, self.object) if i is not None))

    def id_of(self, role: Role) -> int:
        """Id of the token that answers a question on this role."""
        own = {"general": self.general, "human": self.human, "object": self.object}[role]
        return self.general if own is None else own

    def word_of(self, role: Role) -> str:
        """The checkpoints' spelling of the token that answers a question on this role."""
        words = SPELLINGS[self.token_type]
        return words.get(role, words["general"])

    def role_of(self, token_id: int) -> Role:
        """What a token speaks of; a token shared by human and object counts as the human's, as in the reference.

        Raises:
            InputError: not a contact token.
        """
        if token_id == self.human:
            return "human"
        if token_id == self.object:
            return "object"
        if token_id == self.general:
            return "general"
        raise InputError(f"token {token_id} is not a contact token: they are {self.ids}")


def words_to_add(token_type: str) -> tuple[str, ...]:
    """Words that a vocabulary needs, in the order in which checkpoints added them.

    Example:
        >>> words_to_add("Gen-Hu-Obj")
        ('[SEG]', '[HSEG]', '[OSEG]', '<im_start>', '<im_end>')
    """
    return (*dict.fromkeys(SPELLINGS[token_type].values()), IMAGE_START, IMAGE_END)
