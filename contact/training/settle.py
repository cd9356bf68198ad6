"""What a trained small model needs chosen on validation samples before it is written: how much its heads without views
count beside its masks, from where contact counts, and whether it is trusted with objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from hoirecon.arrays import BoolArray
from hoirecon.contact.modeling.direct_heads import blend
from hoirecon.contact.training.closedworld_data import Samples
from hoirecon.contact.training.evaluation import best_threshold, f1, names_of, predict
from hoirecon.contact.training.object_means import VoxelMean
from hoirecon.contact.training.objects_report import GRIDS, predict_objects
from hoirecon.contact.training.tiny_run import Model

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the vertex head that validation chooses from."""
OBJECT_SHARES = (0.5, 1.0)
"""Shares of the object head; each is asked anew."""
DIRECT_EPS = 1e-6
"""Probabilities of heads are held this far from 0 and 1."""


def settle(
    model: Model, train: Samples, val: tuple[Samples, torch.Tensor], tell: Callable[[str], None] = print
) -> None:
    """Choose on validation samples, and write what was chosen into the network's configuration.

    Args:
        model: trained; a network without a vertex head is left as it is.
        train: training samples, for the mean that objects have to reach.
        val: samples of validation and their packed evidence.
        tell: takes lines of progress.
    """
    network = model.network
    if network.vertex_head is None:
        return
    network.config = replace(network.config, human_cut=0.5, object_cut=0.5)
    share, cut = _on_body(model, *val)
    network.config = replace(network.config, direct_share=share, human_cut=cut)
    tell(f"on validation: {share:g} of the vertex head, contact from {cut:.2f} on")
    if network.object_head is not None:
        _on_objects(model, train, *val, tell)


def _on_body(model: Model, samples: Samples, evidence: torch.Tensor) -> tuple[float, float]:
    said = predict(model.network, model.tokenizer, model.gallery, model.body, evidence, names_of(samples))
    masks, direct = torch.as_tensor(said.masks), torch.logit(torch.as_tensor(said.direct), DIRECT_EPS)
    truth = samples.contact(slice(None))
    found = {share: blend(masks, direct, share).numpy() * said.any_token[:, None] for share in SHARES}
    scores = {share: _best(values, truth) for share, values in found.items()}
    best = max(scores, key=lambda share: scores[share][0])
    return best, scores[best][1]


def _on_objects(
    model: Model, train: Samples, samples: Samples, evidence: torch.Tensor, tell: Callable[[str], None]
) -> None:
    network, truth = model.network, samples.object_contact(slice(None))
    scores = dict[float, tuple[float, float]]()
    for share in OBJECT_SHARES:
        network.config = replace(network.config, object_share=share)
        scores[share] = _best(predict_objects(model, samples, evidence), truth)
    best = max(scores, key=lambda share: scores[share][0])
    mean = max(_best(VoxelMean(train, grid)(samples), truth)[0] for grid in GRIDS)
    trusted = scores[best][0] >= mean
    network.config = replace(
        network.config, object_share=best, object_cut=scores[best][1], object_weight=1.0 if trusted else 0.0
    )
    tell(
        f"on validation: {best:g} of the object head, contact on objects from {scores[best][1]:.2f} on, macro F1 "
        f"{scores[best][0]:.3f} where the category's mean has {mean:.3f}: {'trusted' if trusted else 'not trusted'}"
    )


def _best(values: np.ndarray, truth: BoolArray) -> tuple[float, float]:
    """The best macro F1 and the threshold that gives it."""
    threshold = best_threshold(values, truth)
    return float(f1(values > threshold, truth).mean()), threshold
