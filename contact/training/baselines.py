"""What needs no network: lines that a trained model has to pass before it is worth its weights."""

from __future__ import annotations

import numpy as np
import torch

from hoirecon.arrays import BoolArray, IntArray
from hoirecon.contact.modeling.evidence_tower import ALONG_X, FEATURES, EvidenceConfig, landmark_features, unpack
from hoirecon.contact.training.closedworld_data import Samples, category_names
from hoirecon.contact.training.front_end import MIRRORED, FrontEnd, spoilt
from hoirecon.contact.training.lessons import mirror_verts
from hoirecon.contact.training.tiny import GROUPS, group_verts, touched_groups
from hoirecon.data.closedworld.posing import body_model

NEIGHBOURS = 15
"""Samples that the lookup takes the mean of."""
ASKED_AT_ONCE = 64
"""Questions that are looked up together."""
CHUNK = 500
"""Samples whose features are made at once."""
FEWEST_ALIKE = 5
"""Fewest samples that :func:`true_parts_mean` takes a mean of."""


def category_mean(train: Samples, asked: Samples) -> np.ndarray:
    """(n, V) mean contact of the category in training, both sides mirrored into one another."""
    sums = np.zeros((len(category_names()), train.contact(slice(0, 1)).shape[1]), dtype=np.float64)
    for start in range(0, len(train), CHUNK):
        rows = slice(start, start + CHUNK)
        np.add.at(sums, train.category[rows], train.contact(rows))
    counts = np.bincount(train.category, minlength=len(sums))[:, None]
    mean = sums / np.maximum(counts, 1)
    mean = (mean + mean[:, mirror_verts()]) / 2
    everything = sums.sum(0) / max(len(train), 1)
    mean[counts[:, 0] == 0] = (everything + everything[mirror_verts()]) / 2
    return np.asarray(mean[asked.category], dtype=np.float32)


def true_parts_mean(train: Samples, asked: Samples) -> np.ndarray:
    """(n, V) an oracle: who knows which parts touch, and no more, says the mean of the training samples like that.

    Of the samples of the same category in which the same parts touch, as they are and mirrored; of all categories where
    those are fewer than :data:`FEWEST_ALIKE`.
    """
    told = _parts(asked.contact(slice(None)))
    own = {key: k for k, key in enumerate(sorted(set(zip(asked.category.tolist(), told, strict=True))))}
    others = {key: len(own) + k for k, key in enumerate(sorted(set(told)))}
    sums = np.zeros((len(own) + len(others), body_model().num_verts), dtype=np.float32)
    counts = np.zeros(len(sums))
    for start in range(0, len(train), CHUNK):
        rows = slice(start, start + CHUNK)
        plain = train.contact(rows)
        for contact in (plain, plain[:, mirror_verts()]):
            for k, (category, parts) in enumerate(zip(train.category[rows].tolist(), _parts(contact), strict=True)):
                found = [row for row in (own.get((category, parts)), others.get(parts)) if row is not None]
                sums[found] += contact[k]
                counts[found] += 1
    mean = sums / np.maximum(counts, 1)[:, None]
    places = [(own[key], others[key[1]]) for key in zip(asked.category.tolist(), told, strict=True)]
    return np.stack([mean[a] if counts[a] >= FEWEST_ALIKE else mean[b] for a, b in places])


def _parts(contact: BoolArray) -> list[bytes]:
    """Which parts each row (n, V) touches with, as keys."""
    return [row.tobytes() for row in touched_groups(contact)]


def hands_always(asked: Samples) -> np.ndarray:
    """(n, V) both hands touch, nothing else does."""
    found = np.zeros((len(asked), asked.contact(slice(0, 1)).shape[1]), dtype=np.float32)
    for name, verts in zip(GROUPS, group_verts(), strict=True):
        if name.endswith("_hand"):
            found[:, verts] = 1
    return found


class Lookup:
    """The mean contact of the training samples whose landmarks lie most alike: the network's tokens, no network.

    Args:
        train: what is looked up, once as it is and once mirrored, each with one draw of noise.
        seed: of the noise.
        front_end: how evidence is spoilt.
    """

    def __init__(self, train: Samples, seed: int = 0, front_end: FrontEnd | None = None) -> None:
        self.train = train
        self._how = front_end
        rng = np.random.default_rng([seed, 3])
        plain = features_of(train, rng, front_end)
        both = np.concatenate([plain, mirrored_features(plain)])
        self._mean, self._spread = both.mean(0), both.std(0) + 1e-3
        self._stored = torch.as_tensor((both - self._mean) / self._spread)
        self._square = self._stored.square().sum(1)
        self._category = np.concatenate([train.category, train.category])

    def __call__(
        self, asked: Samples, features: np.ndarray, count: int = NEIGHBOURS, same_category: bool = True
    ) -> np.ndarray:
        """(n, V) for evidence whose features :func:`features_of` or :func:`features_of_evidence` made."""
        query = torch.as_tensor((features - self._mean) / self._spread)
        found = np.zeros((len(asked), asked.contact(slice(0, 1)).shape[1]), dtype=np.float32)
        for start in range(0, len(query), ASKED_AT_ONCE):
            rows = range(start, min(start + ASKED_AT_ONCE, len(query)))
            for i, apart in zip(rows, self._square - 2 * query[rows.start : rows.stop] @ self._stored.T, strict=True):
                if same_category and (self._category == asked.category[i]).sum() >= count:
                    apart[torch.as_tensor(self._category != asked.category[i])] = torch.inf
                found[i] = self._contact(torch.topk(-apart, count).indices.numpy()).mean(0)
        return found

    def _contact(self, rows: IntArray) -> np.ndarray:
        turned = rows >= len(self.train)
        contact = self.train.contact(rows % len(self.train))
        contact[turned] = contact[turned][:, mirror_verts()]
        return contact


def features_of(samples: Samples, rng: np.random.Generator, front_end: FrontEnd | None) -> np.ndarray:
    """(n, F) what the landmark tokens are told of spoilt samples."""
    parts = []
    for start in range(0, len(samples), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(samples)))
        parts.append(features_of_evidence(spoilt(samples, rows, rng, front_end)))
    return np.concatenate(parts)


def mirrored_features(features: np.ndarray) -> np.ndarray:
    """The same (n, F) of the mirrored pictures."""
    told = features.reshape(len(features), -1, FEATURES)[:, MIRRORED].copy()
    told[..., list(ALONG_X)] *= -1
    return np.asarray(told.reshape(len(features), -1))


def features_of_evidence(packed: torch.Tensor) -> np.ndarray:
    """(n, F) the same of packed evidence."""
    return landmark_features(*unpack(packed, EvidenceConfig())).flatten(1).numpy()
