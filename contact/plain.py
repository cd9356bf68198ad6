"""The reference's procedure, step by step as it runs: the baseline of the speed bench, and a twin for tests.

Every token of an answer reads the whole text again, every question looks at the photograph again, and every view is
encoded again, the body's too. It runs the same modules on the same numbers, so that its answers must be equal to those
of :class:`~hoirecon.contact.estimator.InteractVLM`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hoirecon.contact.inference.preprocess import clip_pixels
from hoirecon.contact.inference.queries import ROLE_OF_KIND, Query
from hoirecon.contact.lifting import lift_human, lift_object_mesh
from hoirecon.contact.modeling.vlm import VLM
from hoirecon.contact.prompting.conversation import image_prompt_ids, inference_prompt
from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.images import read_image

if TYPE_CHECKING:
    from hoirecon.contact.estimator import InteractVLM


@dataclass(frozen=True)
class PlainAnswer:
    """What the procedure gives for one question."""

    ids: tuple[int, ...]
    """The answer's tokens, its end included."""
    probability: Tensor
    """(N,) per vertex."""
    logits: Tensor
    """(V, S, S) of the masks."""


@torch.no_grad()
def plain_contact(model: InteractVLM, query: Query) -> PlainAnswer:
    """Answer one question on a body or a mesh by the reference's procedure; its one contact token must come."""
    network = model.network
    pixels = torch.as_tensor(clip_pixels(read_image(query.image).rgb, network.config.vision.image_size))
    image = network.vlm.image_tokens(pixels[None].to(network.vlm.projector.weight.device))[0]
    prompt = image_prompt_ids(model.tokenizer, inference_prompt(model.question_of(query)))
    ids, states = plain_answer(network.vlm, prompt, image, model.config.max_new_tokens)
    contact = [i for i, token in enumerate(ids) if token in network.config.tokens.ids]
    place = len(states) - len(ids) + contact[0]  # the state before the token, counted from the end
    subject = model.subject_of(query)
    assert subject is not None, "a question on a body or a mesh"
    rendered = model.gallery.rendered(subject)  # the reference reads its pictures from the disk
    cameras = model.gallery.cameras(subject)
    features = network.mv_loc.encode(torch.as_tensor(rendered.images).permute(0, 3, 1, 2).to(image.device))
    if network.mv_loc.fusion is not None:
        features = network.mv_loc.fuse(features, states)
    prompts = network.contact_prompts(states[place][None], [ids[contact[0]]], cameras)
    low = network.mv_loc.localize(prompts, features, ROLE_OF_KIND[query.kind])
    side = network.config.sam.img_size
    logits = network.mv_loc.upscale(low.logits, (side, side), (side, side))
    assert isinstance(rendered.maps, PixelMaps), "a mesh"
    if query.kind == "human":
        lifted = lift_human(logits, rendered.maps, form=model.config.lift)
    else:
        lifted = lift_object_mesh(logits, rendered.maps)
    return PlainAnswer(tuple(ids), lifted[0], logits[0])


def plain_answer(vlm: VLM, prompt: list[int], image_tokens: Tensor, max_new_tokens: int) -> tuple[list[int], Tensor]:
    """Greedy tokens, and the states (L, H) of everything but the last of them."""
    ids: list[int] = []
    while True:
        states = vlm.hidden(vlm.embed([*prompt, *ids], image_tokens)[None])[0]
        ids.append(int(vlm.logits(states)[-1].argmax()))
        if ids[-1] == vlm.config.language.eos_token_id or len(ids) >= max_new_tokens:
            return ids, states
