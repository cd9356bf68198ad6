"""The oracle line of the small model's card: what knowing the true parts would be worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hoirecon.contact.training.baselines import FEWEST_ALIKE, true_parts_mean
from hoirecon.contact.training.closedworld_data import Samples, draw_samples
from hoirecon.contact.training.lessons import mirror_verts
from hoirecon.contact.training.tiny import touched_groups


@pytest.fixture(scope="module")
def samples() -> Samples:
    return draw_samples("val", 12, 6)


def slowly(train: Samples, asked: Samples) -> np.ndarray:
    """The same sample by sample."""
    seen = [
        (category, contact)
        for k, category in enumerate(train.category)
        for contact in (train.contact(slice(k, k + 1))[0], train.contact(slice(k, k + 1))[0][mirror_verts()])
    ]
    answers = []
    for k, category in enumerate(asked.category):
        parts = touched_groups(asked.contact(slice(k, k + 1)))[0]
        alike = [(c, x) for c, x in seen if (touched_groups(x[None])[0] == parts).all()]
        own = [x for c, x in alike if c == category]
        chosen = own if len(own) >= FEWEST_ALIKE else [x for _, x in alike]
        answers.append(np.mean(chosen, axis=0) if chosen else np.zeros(len(mirror_verts())))
    return np.stack(answers)


def test_it_is_the_mean_of_samples_with_the_same_parts(samples: Samples) -> None:
    few, many = samples, Samples.joined([samples] * FEWEST_ALIKE)
    for train in (few, many):
        assert np.allclose(true_parts_mean(train, samples), slowly(train, samples), atol=1e-6)


def test_parts_that_nothing_in_training_touches_are_not_known(samples: Samples) -> None:
    nothing = replace(samples, touched=np.zeros_like(samples.touched))
    found = true_parts_mean(nothing, samples)
    assert not found[samples.contact(slice(None)).any(1)].any()
