"""How good contact is: F1 of vertices for each sample, sides of single hands, and intervals.

Answers are generated, never given; thresholds come from the validation split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.contact.inference.asking import word_of
from hoirecon.contact.inference.gallery import Gallery, Subject
from hoirecon.contact.inference.generation import answer, prefill_images
from hoirecon.contact.lifting import LiftForm, lift_human
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.prompting.conversation import prefix_ids, question_ids
from hoirecon.contact.prompting.templates import question
from hoirecon.contact.prompting.tokenizer import ContactTokenizer
from hoirecon.contact.training.closedworld_data import Samples, category_names
from hoirecon.contact.training.tiny import GROUPS, touched_groups

THRESHOLDS = np.arange(0.05, 0.95, 0.05)
"""Thresholds that validation chooses from."""
AT_ONCE = 16
"""Questions answered together."""
LONGEST = 48
"""Longest answer, tokens."""
DRAWS = 2000
"""Draws of the bootstrap."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """A network's answers."""

    contact: np.ndarray
    """(n, V) probabilities."""
    said: BoolArray
    """(n, groups) parts of the body that the words name."""
    one_token: BoolArray
    """(n,) whether the answer holds exactly one contact token."""
    any_token: BoolArray
    """(n,) whether it holds one at all; without one nothing is said to touch."""
    masks: np.ndarray
    """(n, V) probabilities of the lifted masks alone; those of the answer in a network without a vertex head."""
    direct: np.ndarray
    """(n, V) probabilities of the vertex head alone; the masks' in a network without one."""


@torch.no_grad()
def predict(
    network: InteractVLMNetwork, tokenizer: ContactTokenizer, gallery: Gallery, body: Subject, evidence: Tensor,
    names: list[str], form: LiftForm = "soft",
) -> Predicted:  # fmt: skip
    """Answer by generation and the lift, as the estimator does.

    Args:
        network: with the evidence tower.
        tokenizer: its vocabulary.
        gallery: of the network.
        body: whose vertices are wanted.
        evidence: (n, packed_size).
        names: what each thing is called.
        form: of the lift; ``legacy`` gives 0 and 1.
    """
    was, _ = network.training, network.eval()
    features, cameras, maps = gallery.features(body), gallery.cameras(body), gallery.rendered(body).maps
    contact, masks_alone, direct = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    said, tokens = [], []
    for start in range(0, len(names), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        pictures = network.vlm.image_tokens(evidence[part])
        prefixes = prefill_images(network.vlm, prefix_ids(tokenizer), pictures)
        asked = [question_ids(tokenizer, question("human", "parts", name)) for name in names[part]]
        answers = answer(network.vlm, prefixes, asked, contact_ids=network.config.tokens.ids, max_new_tokens=LONGEST)
        for found, picture, name in zip(answers, pictures, names[part], strict=True):
            words = set(tokenizer.decode(found.ids).replace(",", " ").split())
            said.append([group in words for group in GROUPS])
            tokens.append(len(found.contact_ids))
            lifted = alone = own = torch.zeros(body_size(maps))
            if found.contact_ids:
                states = network.looked_back(found.states[:1], picture[None], [word_of(name, tokenizer)])
                prompts = network.contact_prompts(states, found.contact_ids[:1], cameras)
                low = network.mv_loc.localize(prompts, features, "human").logits
                side, drawn = network.config.sam.img_size, network.config.map_side
                masks = network.mv_loc.upscale(low, (side, side), (drawn, drawn))
                lifted = alone = own = lift_human(masks, maps, form)[0]  # type: ignore[arg-type]
                if form == "soft":
                    lifted = network.with_vertex_head(alone, states[0])
                if network.vertex_head is not None:
                    own = network.vertex_head(states)[0].sigmoid()
            for values, kept in ((lifted, contact), (alone, masks_alone), (own, direct)):
                kept.append(values.numpy())
    network.train(was)
    count = np.array(tokens)
    return Predicted(np.stack(contact), np.array(said), count == 1, count > 0, np.stack(masks_alone), np.stack(direct))


def body_size(maps: object) -> int:
    """Vertices that pixel maps speak of."""
    return int(maps.num_verts)  # type: ignore[attr-defined]


def names_of(samples: Samples) -> list[str]:
    """What each sample's thing is called."""
    return [category_names()[i] for i in samples.category]


def f1(predicted: BoolArray, truth: BoolArray, weight: FloatArray | None = None) -> FloatArray:
    """(n,) F1 of vertices (n, V), each counted by its weight; 1 where both are empty."""
    w = np.ones(truth.shape[1]) if weight is None else weight
    hit, extra, missed = (predicted & truth) @ w, (predicted & ~truth) @ w, (~predicted & truth) @ w
    whole = 2 * hit + extra + missed
    return np.asarray(np.where(whole > 0, 2 * hit / np.maximum(whole, 1e-12), 1.0))


def best_threshold(contact: np.ndarray, truth: BoolArray) -> float:
    """Threshold with the best mean F1."""
    scores = [f1(contact > t, truth).mean() for t in THRESHOLDS]
    return float(THRESHOLDS[int(np.argmax(scores))])


def interval(values: FloatArray, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of a mean."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Scores:
    """Figures of one method on one set."""

    name: str
    threshold: float
    macro: float
    """Mean F1 of the samples, vertices counted alike."""
    low: float
    """Lower end of its 95 % bootstrap interval."""
    high: float
    """Upper end."""
    area: float
    """Mean F1, vertices counted by the area round them."""
    hand_right: float
    """Of samples in which one hand touches: share in which that hand alone is said to."""
    hand_swapped: float
    """Share in which the other one alone is."""
    hands: int
    """Number of those samples."""
    each: FloatArray
    """(n,) F1 of each sample."""

    def row(self) -> str:
        """A line of a table."""
        return (
            f"| {self.name} | {self.threshold:.2f} | {self.macro:.3f} [{self.low:.3f}, {self.high:.3f}] | "
            f"{self.area:.3f} | {self.hand_right:.3f} | {self.hand_swapped:.3f} |"
        )


TABLE_HEAD = (
    "| method | threshold | macro F1 [95 %] | area-weighted F1 | single hand right | swapped |\n"
    "| --- | --- | --- | --- | --- | --- |"
)


def score(name: str, contact: np.ndarray, truth: BoolArray, threshold: float, area: FloatArray) -> Scores:
    """Figures of a method's probabilities (n, V); sides of hands are read off the thresholded contact."""
    found = contact > threshold
    each = f1(found, truth)
    low, high = interval(each)
    right, swapped, count = single_hands(touched_groups(found), touched_groups(truth))
    return Scores(name, threshold, float(each.mean()), low, high, float(f1(found, truth, area).mean()), right, swapped,
                  count, each)  # fmt: skip


def single_hands(said: BoolArray, true: BoolArray) -> tuple[float, float, int]:
    """Share right and share swapped of the samples in which exactly one hand touches, and their number."""
    hands = [list(GROUPS).index(f"{side}_hand") for side in ("left", "right")]
    one = true[:, hands].sum(1) == 1
    if not one.any():
        return float("nan"), float("nan"), 0
    told, wanted = said[one][:, hands], true[one][:, hands]
    return float((told == wanted).all(1).mean()), float((told == ~wanted).all(1).mean()), int(one.sum())


class Judged(Protocol):
    """What :func:`compared` needs to know."""

    @property
    def name(self) -> str:
        """Of the method."""
        ...

    @property
    def each(self) -> FloatArray:
        """(n,) F1 of each sample."""
        ...


def compared(a: Judged, b: Judged) -> str:
    """How much better one method is than another on the same samples, with its interval."""
    difference = a.each - b.each
    low, high = interval(difference)
    return f"{a.name} minus {b.name}: {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


Method = Callable[[Samples, Tensor], np.ndarray]
"""(samples, packed evidence) -> (n, V) probabilities."""
