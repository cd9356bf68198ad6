"""Validation by generated answers: the model is asked as a user asks it, and what it finds is held against the truth.

Nothing of the truth is told. (Teacher-forced figures are leaky: the answer's body parts stand in the prompt.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.contact.inference.asking import question_of
from hoirecon.contact.inference.localizing import Localizer
from hoirecon.contact.inference.looking import Looker
from hoirecon.contact.inference.queries import Query
from hoirecon.contact.inference.settings import EstimatorConfig
from hoirecon.contact.lifting import lift_human, lift_object_mesh, lift_object_points
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.prompting.tokenizer import ContactTokenizer
from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.contact.training.finetune.engine import SCORE
from hoirecon.contact.training.public.batches import queries_of
from hoirecon.contact.training.public.lessons import Lesson, Source
from hoirecon.contact.training.public.stage import Stage

CUT = 0.5
"""Contact from here on."""
THRESHOLDS = np.linspace(0, 1, 20)
"""At which the overlap of an affordance is taken."""
KINDS = ("human", "object", "affordance", "image")
Sum = Callable[[Tensor], Tensor]
"""Adds a tensor up over all processes."""


class Validation:
    """Asks the questions of some sources and scores the answers.

    Args:
        network: the one that is trained; ask in evaluation mode.
        tokenizer: its vocabulary.
        stage: knows the bodies and objects of the lessons.
        sources: what is asked, e.g. validation parts.
        limit: so many questions of each.
        max_new_tokens: longest answer.
        rank, world: this process among how many; each asks its own part.
        over_all: adds up over processes.
    """

    def __init__(
        self,
        network: InteractVLMNetwork,
        tokenizer: ContactTokenizer,
        stage: Stage,
        sources: Sequence[Source],
        limit: int = 100,
        max_new_tokens: int = 128,
        rank: int = 0,
        world: int = 1,
        over_all: Sum = lambda values: values,
    ) -> None:
        self.network, self.tokenizer, self.stage = network, tokenizer, stage
        self.config = EstimatorConfig(max_new_tokens=max_new_tokens)
        self.looker = Looker(network, tokenizer, 1, self.config.person_margin)
        self.localizer = Localizer(stage.gallery, self.looker)
        asked = [pair for source in sources for pair in queries_of(source, limit)]
        self.asked, self.over_all = asked[rank::world], over_all
        self.total = len(asked)

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        """Mean score of each kind of question, their mean as ``score``, and the share of answers with a contact token.

        Contact is scored by F1 at 0.5 per sample, affordance by the mean overlap at 20 thresholds (the reference's
        aIOU), the photograph's pixels by overlap.
        """
        self.looker.forget()
        sums = torch.zeros(len(KINDS), 2, dtype=torch.float64)
        found = torch.zeros(2, dtype=torch.float64)
        for query, lesson in self.asked:
            predicted = self.predict(query, lesson)
            found += torch.tensor([predicted is not None, 1.0], dtype=torch.float64)
            row = KINDS.index(query.kind)
            sums[row] += torch.tensor([score(lesson, predicted), 1.0], dtype=torch.float64)
        device = self.network.vlm.projector.weight.device
        sums, found = (self.over_all(t.to(device)).cpu() for t in (sums, found))
        means = {kind: float(s / n) for kind, (s, n) in zip(KINDS, sums, strict=True) if n}
        mean = sum(means.values()) / max(len(means), 1)
        return {SCORE: mean, **means, "answered": float(found[0] / found[1].clamp(min=1)), "questions": float(found[1])}

    def predict(self, query: Query, lesson: Lesson) -> FloatArray | None:
        """Probabilities per vertex, point or pixel; None if the answer holds no contact token."""
        look = self.looker.look_at_all([(query.image, None)])[0]
        asked = question_of(query, self.tokenizer, self.network.config, self.config)
        answer = self.looker.answer_all([look], [asked], [None], self.config.max_new_tokens)[0]
        gallery, subject = (None, None) if lesson.task == "image" else self.stage.subject(lesson)
        found = self.localizer.find(query.kind, look, asked, answer, subject)
        if found.logits is None:
            return None
        if gallery is None or subject is None:
            return np.asarray(torch.sigmoid(found.logits[0]).double().cpu().numpy())
        maps = gallery.rendered(subject).maps
        if not isinstance(maps, PixelMaps):
            lifted = lift_object_points(torch.sigmoid(found.logits)[None], maps)
        elif lesson.task == "human":
            lifted = lift_human(found.logits[None], maps)
        else:
            lifted = lift_object_mesh(found.logits[None], maps)
        return np.asarray(lifted[0].double().cpu().numpy())


def score(lesson: Lesson, predicted: FloatArray | None) -> float:
    """How right a prediction is, in [0, 1]; an answer without a contact token says that nothing is touched."""
    truth = lesson.mask if lesson.task == "image" else lesson.contact
    assert truth is not None  # words are not asked
    judged = truth >= 0
    values = np.zeros(truth.shape) if predicted is None else predicted
    found, wanted = values[judged], truth[judged] >= CUT
    if lesson.task == "affordance":
        return float(np.mean([_overlap(found >= cut, wanted) for cut in THRESHOLDS]))
    if lesson.task == "image":
        return _overlap(found >= CUT, wanted)
    return _f1(found >= CUT, wanted)


def _f1(found: np.ndarray, wanted: np.ndarray) -> float:
    total = int(found.sum()) + int(wanted.sum())
    return 2 * int((found & wanted).sum()) / total if total else 1.0


def _overlap(found: np.ndarray, wanted: np.ndarray) -> float:
    union = int((found | wanted).sum())
    return int((found & wanted).sum()) / union if union else 1.0


def table_text(figures: Sequence[Mapping[str, float]]) -> str:
    """Validations as rows of a Markdown table."""
    if not figures:
        return "No validation was run."
    names = [name for name in figures[-1] if name != "step"]
    rows = [f"| step | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    for row in figures:
        cells = " | ".join(f"{row[name]:.4g}" for name in names if name in row)
        rows.append(f"| {row['step']:.0f} | {cells} |")
    return "\n".join(rows)
