"""How good contact on objects is, beside the mean contact of a category's voxels.

Meshes of the test were not trained on. Answers are generated and lifted as the estimator does; thresholds come from the
validation split. Arrays are padded with vertices that nothing touches, which no F1 counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hoirecon.arrays import FloatArray, IntArray
from hoirecon.contact.inference.asking import word_of
from hoirecon.contact.inference.generation import answer, prefill_images
from hoirecon.contact.lifting import lift_object_mesh
from hoirecon.contact.prompting.conversation import prefix_ids, question_ids
from hoirecon.contact.prompting.templates import question
from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.contact.training.closedworld_data import MOST_VERTS, Samples, object_ids
from hoirecon.contact.training.evaluation import AT_ONCE, LONGEST, best_threshold, f1, interval, names_of
from hoirecon.contact.training.object_means import VoxelMean
from hoirecon.contact.training.tiny_run import Model
from hoirecon.contact_map import CONTACT_THRESHOLD
from hoirecon.data.objects import load_object

GRIDS = (3, 5, 8)
"""Voxels along each side of an object's box, from which validation chooses for the category's mean."""


@dataclass(frozen=True, eq=False)
class ObjectScores:
    """Figures of one method on the objects of one split."""

    name: str
    threshold: float
    macro: float
    """Mean F1 of the samples' vertices."""
    low: float
    """Lower end of its 95 % bootstrap interval."""
    high: float
    """Upper end."""
    each: FloatArray
    """(n,) F1 of each sample."""

    @classmethod
    def of(
        cls, name: str, val: np.ndarray, val_truth: np.ndarray, test: np.ndarray, truth: np.ndarray,
        threshold: float | None = None,
    ) -> ObjectScores:  # fmt: skip
        """Of probabilities (n, MOST_VERTS) on both splits; None takes validation's best threshold."""
        threshold = best_threshold(val, val_truth) if threshold is None else threshold
        each = f1(test > threshold, truth)
        return cls(name, threshold, float(each.mean()), *interval(each), each)

    def row(self) -> str:
        """A line of a table."""
        return f"| {self.name} | {self.threshold:.2f} | {self.macro:.3f} [{self.low:.3f}, {self.high:.3f}] |"


HEAD = "| contact on objects | threshold | macro F1 [95 %] |\n| --- | --- | --- |"


@torch.no_grad()
def predict_objects(model: Model, samples: Samples, evidence: torch.Tensor) -> np.ndarray:
    """(n, MOST_VERTS) probabilities on each sample's mesh, answers generated."""
    order = np.argsort(samples.instance, kind="stable")  # what is asked of one mesh together, its views are drawn once
    names, found = names_of(samples), np.zeros((len(samples), MOST_VERTS), dtype=np.float32)
    was, _ = model.network.training, model.network.eval()
    for start in range(0, len(order), AT_ONCE):
        rows = order[start : start + AT_ONCE]
        found[rows] = _asked(model, rows, samples, evidence, [names[row] for row in rows])
    model.network.train(was)
    return found


def _asked(model: Model, rows: IntArray, samples: Samples, evidence: torch.Tensor, names: Sequence[str]) -> np.ndarray:
    network, tokenizer, gallery = model.network, model.tokenizer, model.gallery
    pictures = network.vlm.image_tokens(evidence[rows])
    prefixes = prefill_images(network.vlm, prefix_ids(tokenizer), pictures)
    asked = [question_ids(tokenizer, question("object", "simple", name)) for name in names]
    answers = answer(network.vlm, prefixes, asked, contact_ids=network.config.tokens.ids, max_new_tokens=LONGEST)
    contact = np.zeros((len(rows), MOST_VERTS), dtype=np.float32)
    side, drawn = network.config.sam.img_size, network.config.map_side
    for i, (row, said) in enumerate(zip(rows, answers, strict=True)):
        if not said.contact_ids:
            continue
        subject = gallery.object(load_object(object_ids()[samples.instance[row]]).mesh)
        maps = gallery.rendered(subject).maps
        assert isinstance(maps, PixelMaps)
        word = word_of(names[i], tokenizer)
        states = network.looked_back(said.states[:1], pictures[i : i + 1], [word])
        prompts = network.contact_prompts(states, said.contact_ids[:1], gallery.cameras(subject))
        low = network.mv_loc.localize(prompts, gallery.features(subject), "object").logits
        lifted = lift_object_mesh(network.mv_loc.upscale(low, (side, side), (drawn, drawn)), maps)[0]
        verts = torch.as_tensor(subject.surface.verts)
        lifted = network.with_object_head(lifted, states[0], word, verts)
        contact[i, : len(lifted)] = lifted.numpy()
    return contact


def objects_compared(
    model: Model, train: Samples, val: tuple[Samples, torch.Tensor], test: tuple[Samples, torch.Tensor]
) -> tuple[ObjectScores, ObjectScores]:
    """The model and the best of the voxel means; splits are (samples, packed evidence)."""
    truths = [split[0].object_contact(slice(None)) for split in (val, test)]
    said = [predict_objects(model, *split) for split in (val, test)]
    # a model with heads holds its own cut in its configuration, chosen on the same validation samples
    own = CONTACT_THRESHOLD if model.network.object_head is not None else None
    ours = ObjectScores.of("small model", said[0], truths[0], said[1], truths[1], own)
    means = [VoxelMean(train, grid) for grid in GRIDS]
    of_val = [mean(val[0]) for mean in means]
    best = int(np.argmax([f1(v > best_threshold(v, truths[0]), truths[0]).mean() for v in of_val]))
    name = f"category's mean of {GRIDS[best]}^3 voxels"
    return ours, ObjectScores.of(name, of_val[best], truths[0], means[best](test[0]), truths[1])
