"""What validation chooses for a trained small model, and that answers count from one half on afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hoirecon.contact.modeling.direct_heads import blend
from hoirecon.contact.training import settle as settling
from hoirecon.contact.training.closedworld_data import Samples, draw_samples
from hoirecon.contact.training.evaluation import Predicted, best_threshold
from hoirecon.contact.training.front_end import spoilt
from hoirecon.contact.training.tiny import GROUPS, TinySize
from hoirecon.contact.training.tiny_run import Model, TinyRun, new_model
from hoirecon.contact_map import ContactMap, odds_shifted
from hoirecon.errors import InputError

SMALL = TinySize(hidden=16, layers=1, tower_layers=1, heads=2, prompt=8, sam_layers=1, view_side=96)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return draw_samples("val", 11, 4)


@pytest.fixture
def model() -> Model:
    return new_model(TinyRun(size=SMALL))


def test_a_cut_becomes_one_half_as_contact_maps_do_it() -> None:
    values = torch.tensor([0.0, 0.2, 0.5, 1.0], dtype=torch.float64)
    found = odds_shifted(values, 0.2)
    expected = ContactMap(values.numpy(), "mesh").with_threshold_at_half(0.2).probability
    np.testing.assert_allclose(found.numpy(), expected)
    torch.testing.assert_close(odds_shifted(values, 0.5), values)


def test_the_better_of_masks_and_head_is_chosen_and_its_threshold(
    samples: Samples, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head is right at 0.3, the masks are wrong everywhere: the whole head is taken, and cut between."""
    truth = samples.contact(slice(None))
    direct = np.where(truth, 0.3, 0.02).astype(np.float32)
    masks = np.where(truth, 0.0005, 0.9995).astype(np.float32)
    tokens = np.ones(len(samples), dtype=bool)
    said = Predicted(direct, np.zeros((len(samples), len(GROUPS)), dtype=bool), tokens, tokens, masks, direct)
    monkeypatch.setattr(settling, "predict", lambda *_: said)
    monkeypatch.setattr(settling, "predict_objects", lambda *_: np.zeros((len(samples), 2048), dtype=np.float32))
    evidence = spoilt(samples, np.arange(len(samples)), np.random.default_rng(0))
    settling.settle(model, samples, (samples, evidence), tell=lambda _: None)
    config = model.network.config
    assert config.direct_share == 1.0
    assert 0.02 < config.human_cut < 0.3
    assert config.object_weight == 0  # nothing is no better than what is usual
    found = odds_shifted(blend(torch.as_tensor(masks), torch.logit(torch.as_tensor(direct)), 1.0), config.human_cut)
    np.testing.assert_array_equal(found.numpy() > 0.5, truth)
    assert best_threshold(direct, truth) == config.human_cut


def test_a_network_without_heads_is_left_as_it_is(samples: Samples) -> None:
    model = new_model(TinyRun(size=replace(SMALL, vertex_head=False, objects=False)))
    before = model.network.config
    settling.settle(model, samples, (samples, torch.zeros(len(samples), 1)), tell=lambda _: None)
    assert model.network.config == before


def test_a_cut_outside_of_zero_and_one_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="ends left out"):
        replace(model.network.config, human_cut=1.0)
