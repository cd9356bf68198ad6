"""A photograph, looked at once: its patches and the system text in the language model's cache, for any number of
questions; Segment Anything's view of it only if contact in the image is asked for."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import ByteArray
from hoirecon.contact.inference.evidence import Evidence, evidence_of
from hoirecon.contact.inference.generation import Answer, Prefix, answer, prefill_images, teach
from hoirecon.contact.inference.preprocess import (
    Floats32,
    Window,
    clip_pixels,
    cut_person,
    sam_pixels,
)
from hoirecon.contact.modeling.evidence_tower import EvidenceConfig
from hoirecon.contact.prompting.conversation import prefix_ids, question_ids
from hoirecon.errors import InputError
from hoirecon.images import read_image

if TYPE_CHECKING:
    from hoirecon.contact.modeling.network import InteractVLMNetwork
    from hoirecon.contact.prompting.tokenizer import ContactTokenizer


@dataclass(frozen=True, eq=False)
class Look:
    """One photograph, or one person in it, encoded."""

    rgb: ByteArray
    """(H, W, 3) what was looked at: the photograph, or the square round the person."""
    full_size: tuple[int, int]
    """(H, W) of the photograph."""
    window: Window | None
    """Where the square lies in the photograph; None if all of it was looked at."""
    prefix: Prefix
    """The language model's cache after the image."""
    network: InteractVLMNetwork = field(repr=False)
    """Who looked."""
    evidence: Evidence | None = None
    """What a model with an evidence tower was told in place of the photograph."""
    tokens: Tensor | None = field(default=None, repr=False)
    """(P, H) what the language model sees of it; kept for networks that look back only."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of what was looked at."""
        return self.rgb.shape[0], self.rgb.shape[1]

    @property
    def sam_size(self) -> tuple[int, int]:
        """(h, w) of what Segment Anything sees, before padding to a square."""
        return self._sam_pixels.shape[1], self._sam_pixels.shape[2]

    @cached_property
    def _sam_pixels(self) -> Tensor:
        return torch.as_tensor(sam_pixels(self.rgb, self.network.config.sam.img_size))

    @cached_property
    def sam_features(self) -> Tensor:
        """(1, C, e, e) image embedding of what was looked at."""
        device = next(self.network.mv_loc.parameters()).device
        return self.network.mv_loc.encode(self._sam_pixels[None].to(device))

    def in_photograph(self, values: Floats32) -> Floats32:
        """Values (H, W) of what was looked at, in their place in the photograph, zero elsewhere."""
        return values if self.window is None else np.asarray(self.window.paste(values, self.full_size))


class Looker:
    """Encodes photographs and answers questions about them.

    Args:
        network: the network.
        tokenizer: its vocabulary.
        kept: photographs whose encoding is kept for further questions.
        margin: room round a person's box, relative to its longer side.
    """

    def __init__(self, network: InteractVLMNetwork, tokenizer: ContactTokenizer, kept: int, margin: float) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.margin = margin
        self.kept = kept
        self._looks: OrderedDict[str, Look] = OrderedDict()

    def look_at_all(self, wanted: Sequence[tuple[Any, Any]]) -> list[Look]:
        """Encode photographs given as (image, person), each once, the new ones in one batch.

        Raises:
            InputError: an image or a person that cannot be used, or a look made by another model.
        """
        made: dict[str, Look] = {}
        new: dict[str, _Cut] = {}
        cuts: dict[tuple[int, int], _Cut] = {}  # by identity: the same file is read and hashed once
        keys = []
        for image, person in wanted:
            if not isinstance(image, Look) and self.network.config.sees_evidence:
                image, person = _as_evidence(image, person), None
            if isinstance(image, Look):
                keys.append(f"look-{id(image)}")
                made[keys[-1]] = self._own(image, person)
                continue
            who = id(image), id(person)
            if isinstance(image, Evidence):
                cut = _Cut(image.observation.image, image.observation.size, None, image)
            else:
                cut = cuts.get(who) or _cut(read_image(image).rgb, person, self.margin)
            cuts[who] = cut
            keys.append(cut.key)
            if cut.key in self._looks:
                made[cut.key] = self._looks[cut.key]
            elif cut.key not in made:
                new[cut.key] = cut
        made |= self._encode(new)
        for key in dict.fromkeys(keys):
            self._keep(key, made[key])
        return [made[key] for key in keys]

    def answer_all(
        self, looks: Sequence[Look], questions: Sequence[str], given: Sequence[str | None], max_new_tokens: int
    ) -> list[Answer]:
        """Answer each question on its look, all in one batch; given answers are taken as they are, in another."""
        ids = [question_ids(self.tokenizer, text) for text in questions]
        contact = self.network.config.tokens.ids
        answers: dict[int, Answer] = {}
        free = [i for i, text in enumerate(given) if text is None]
        if free:
            found = answer(
                self.network.vlm,
                [looks[i].prefix for i in free],
                [ids[i] for i in free],
                contact_ids=contact,
                max_new_tokens=max_new_tokens,
            )
            answers |= dict(zip(free, found, strict=True))
        bound = [(i, text) for i, text in enumerate(given) if text is not None]
        if bound:
            found = teach(
                self.network.vlm,
                [looks[i].prefix for i, _ in bound],
                [ids[i] for i, _ in bound],
                [self._answer_ids(text) for _, text in bound],
                contact_ids=contact,
            )
            answers |= dict(zip((i for i, _ in bound), found, strict=True))
        return [answers[i] for i in range(len(looks))]

    @torch.no_grad()
    def all_states(self, look: Look, question: str, answered: Sequence[int]) -> Tensor:
        """(L, H) states of image, question and answer but for its last token, by one more pass over all of it.

        Only the optional fusion wants them; no released model has it.
        """
        vlm = self.network.vlm
        ids = [*prefix_ids(self.tokenizer), *question_ids(self.tokenizer, question), *answered[:-1]]
        return vlm.hidden(vlm.embed(ids, self._image_tokens([look.evidence or look.rgb])[0])[None])[0]

    def forget(self) -> None:
        """Drop the encodings that are kept."""
        self._looks.clear()

    def _answer_ids(self, text: str) -> list[int]:
        """Ids of an answer as training has them, its end included."""
        return [*self.tokenizer.encode(text.strip(), bos=False), self.tokenizer.eos_id]  # the space comes with "▁"

    def _encode(self, cuts: dict[str, _Cut]) -> dict[str, Look]:
        if not cuts:
            return {}
        tokens = self._image_tokens([cut.evidence or cut.rgb for cut in cuts.values()])
        prefixes = prefill_images(self.network.vlm, prefix_ids(self.tokenizer), tokens)
        kept = tokens if self.network.look_back is not None else [None] * len(prefixes)
        return {
            key: Look(cut.rgb, cut.full_size, cut.window, prefix, self.network, cut.evidence, own)
            for (key, cut), prefix, own in zip(cuts.items(), prefixes, kept, strict=True)
        }

    def _image_tokens(self, pictures: Sequence[ByteArray | Evidence]) -> Tensor:
        """(B, P, H) what the language model sees of each picture."""
        pixels = torch.stack([self._told(picture) for picture in pictures])
        return self.network.vlm.image_tokens(pixels.to(self.network.vlm.projector.weight.device))

    def _told(self, picture: ByteArray | Evidence) -> Tensor:
        """One picture as the tower takes it."""
        vision = self.network.config.vision
        if isinstance(picture, Evidence):
            assert isinstance(vision, EvidenceConfig)  # other models are never given evidence
            return picture.packed(vision)
        return torch.as_tensor(clip_pixels(picture, vision.image_size))

    def _own(self, look: Look, person: Any) -> Look:
        if look.network is not self.network:
            raise InputError("this look was made by another model: make one with look() of this model")
        if look.prefix.keys[0].device != self.network.vlm.projector.weight.device:
            raise InputError("this look was made before the model moved to another device: make a new one with look()")
        if person is not None:
            raise InputError("a look is of one person already: give person to look(), not to the question")
        return look

    def _keep(self, key: str, look: Look) -> None:
        if key.startswith("look-"):
            return  # its owner keeps it
        self._looks[key] = look
        self._looks.move_to_end(key)
        while len(self._looks) > self.kept:
            self._looks.popitem(last=False)


@dataclass(frozen=True, eq=False)
class _Cut:
    """What of a photograph is looked at."""

    rgb: ByteArray
    full_size: tuple[int, int]
    window: Window | None
    evidence: Evidence | None = None

    @cached_property
    def key(self) -> str:
        """Equal for equal pixels in the same place, or equal evidence."""
        if self.evidence is not None:
            return self.evidence.key
        digest = hashlib.sha256(np.ascontiguousarray(self.rgb).tobytes())
        digest.update(repr((self.rgb.shape, self.full_size, self.window)).encode())
        return digest.hexdigest()


def _as_evidence(image: Any, person: Any) -> Evidence:
    if person is not None:
        raise InputError("evidence is of one person already: choose the person when the photograph is observed")
    return evidence_of(image)


def _cut(rgb: ByteArray, person: Any, margin: float) -> _Cut:
    """The photograph, or the square round a person given by box or mask."""
    is_mask = person is not None and np.ndim(person) == 2
    cut, window = cut_person(rgb, None if is_mask else person, person if is_mask else None, margin)
    return _Cut(cut, (rgb.shape[0], rgb.shape[1]), window)
