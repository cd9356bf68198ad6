"""A small copy of DAMON on a free stand-in body, and a predictor that is sometimes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.data.datasets.fixtures.damon import write_damon
from hoirecon.data.datasets.predictions import Prediction
from hoirecon.data.datasets.samples import Question


@dataclass
class Guess:
    """Contact drawn by a sample's id: the same whenever and wherever it is asked."""

    share: float = 0.05
    fail_on: str = ""
    name: str = "guess"
    asked: list[str] = field(default_factory=list)

    @property
    def params(self) -> Mapping[str, Any]:
        return {"share": self.share, "fail_on": self.fail_on}

    def predict(self, question: Question) -> Prediction:
        self.asked.append(question.id)
        if self.fail_on and question.id.endswith(self.fail_on):
            raise RuntimeError("out of memory\nin line two")
        rng = np.random.default_rng(sum(question.id.encode()))
        return Prediction(question.id, (rng.random(6890) < self.share).astype(float), "standin-6890")


@pytest.fixture(scope="session")
def damon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damon")
    for split, seed in (("test", 0), ("trainval", 1)):
        write_damon(folder, samples=28, seed=seed, split=split, smplx=False, pictures=False)
    return folder


@pytest.fixture
def guess() -> Guess:
    return Guess()


@pytest.fixture
def make_guess() -> type[Guess]:
    return Guess
