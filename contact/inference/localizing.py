"""From an answer to masks: its contact token becomes prompts, and MV-Loc finds them in every view (**localize**)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hoirecon.contact.inference.asking import word_of
from hoirecon.contact.inference.gallery import Gallery, Subject
from hoirecon.contact.inference.looking import Looker
from hoirecon.contact.inference.queries import ROLE_OF_KIND, Kind
from hoirecon.contact.prompting.conversation import readable_answer

if TYPE_CHECKING:
    from hoirecon.contact.inference.generation import Answer
    from hoirecon.contact.inference.looking import Look
    from hoirecon.contact.modeling.contact_tokens import ContactTokens

NO_TOKEN = "the answer holds no contact token: no contact is reported"
SEVERAL_TOKENS = "the answer holds {n} contact tokens: the first is taken"
OTHER_TOKEN = "the answer holds the {role} contact token where another was expected"
CUT_OFF = "the answer was cut off after {n} tokens"

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Localized:
    """One answer, and its masks if there are any."""

    text: str
    """What the model said."""
    notes: tuple[str, ...]
    """What is unusual in it."""
    logits: Tensor | None
    """(V, S, S) of the views, or (1, H, W) of the photograph, float32; None without a contact token."""
    state: Tensor | None = None
    """(H,) the state before the contact token, after a look back if the network does that."""


class Localizer:
    """Finds what an answer's first contact token means.

    Args:
        gallery: knows the views.
        looker: knows the photographs.
    """

    def __init__(self, gallery: Gallery, looker: Looker) -> None:
        self.network = gallery.network
        self.gallery = gallery
        self.looker = looker

    def find(
        self, kind: Kind, look: Look, question: str, answer: Answer, subject: Subject | None, label: str = ""
    ) -> Localized:
        """The masks of an answer on a subject's views, or on the photograph if there is none; ``label`` names the
        object."""
        text = readable_answer(self.looker.tokenizer.decode(answer.ids))
        notes = tuple(_remarks(answer, kind, self.network.config.tokens))
        if not answer.contact_ids:
            return Localized(text, notes, None)
        features, cameras, sizes = self._views(look, subject)
        if self.network.mv_loc.fusion is not None:
            features = self.network.mv_loc.fuse(features, self.looker.all_states(look, question, answer.ids))
        states = answer.states[:1]
        if look.tokens is not None:
            states = self.network.looked_back(states, look.tokens[None], [word_of(label, self.looker.tokenizer)])
        prompts = self.network.contact_prompts(states, answer.contact_ids[:1], cameras)
        low = self.network.mv_loc.localize(prompts, features, ROLE_OF_KIND[kind])
        return Localized(text, notes, self.network.mv_loc.upscale(low.logits, *sizes)[0], states[0])

    def _views(self, look: Look, subject: Subject | None) -> tuple[Tensor, Tensor | None, tuple[Size, Size]]:
        """Embeddings to decode, cameras to tell FeatLift, and the sizes before and after scaling back."""
        if subject is None:
            return look.sam_features, None, (look.sam_size, look.size)
        side, drawn = self.network.config.sam.img_size, self.network.config.map_side
        return self.gallery.features(subject), self.gallery.cameras(subject), ((side, side), (drawn, drawn))


def probability(logits: Tensor) -> Tensor:
    """Of masks; in their place, as those of a large photograph take hundreds of megabytes."""
    return torch.sigmoid_(logits)


def _remarks(answer: Answer, kind: Kind, tokens: ContactTokens) -> list[str]:
    """What a person should know of an answer."""
    found = answer.contact_ids
    notes = [] if answer.finished else [CUT_OFF.format(n=len(answer.ids))]
    if not found:
        return [*notes, NO_TOKEN]
    if len(found) > 1:
        notes.append(SEVERAL_TOKENS.format(n=len(found)))
    if kind != "image" and found[0] != tokens.id_of(ROLE_OF_KIND[kind]):
        notes.append(OTHER_TOKEN.format(role=tokens.role_of(found[0])))
    return notes
