"""Photographs are read once, in one batch, and kept in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hoirecon.contact import InteractVLM
from hoirecon.contact.inference.looking import Looker
from hoirecon.contact.prompting.conversation import image_prompt_ids, inference_prompt
from hoirecon.errors import InputError
from hoirecon.images import LoadedImage, read_image
from tests.contact.toy_scene import photograph, told

A, B, C = (photograph(seed) for seed in range(3))


@pytest.fixture(scope="module")
def model() -> InteractVLM:
    return told(A)


def _looker(model: InteractVLM, kept: int = 2) -> Looker:
    return Looker(model.network, model.tokenizer, kept, margin=0.15)


def test_together_as_alone(model: InteractVLM) -> None:
    together = _looker(model).look_at_all([(A, None), (B, None), (A, (0, 0, 30, 30))])
    for found, (image, person) in zip(together, [(A, None), (B, None), (A, (0, 0, 30, 30))], strict=True):
        alone = _looker(model).look_at_all([(image, person)])[0]
        assert (found.rgb == alone.rgb).all()
        for one, other in zip(found.prefix.keys, alone.prefix.keys, strict=True):
            assert torch.allclose(one, other, atol=1e-5)


def test_equal_pictures_are_one_whatever_they_came_as(model: InteractVLM, tmp_path: Path) -> None:
    Image.fromarray(A).save(tmp_path / "a.png")
    looker = _looker(model)
    first, second, third = looker.look_at_all([(A, None), (A.copy(), None), (tmp_path / "a.png", None)])
    assert first is second is third
    assert looker.look_at_all([(A.copy(), None)])[0] is first


def test_other_persons_are_other_looks(model: InteractVLM) -> None:
    mask = np.zeros(A.shape[:2], bool)
    mask[5:30, 5:30] = True
    looks = _looker(model).look_at_all([(A, None), (A, (5, 5, 25, 25)), (A, (6, 5, 25, 25)), (A, mask)])
    assert len({id(look) for look in looks}) == 4
    assert looks[0].window is None
    assert looks[0].size == A.shape[:2]
    assert all(look.window is not None for look in looks[1:])
    assert all(look.full_size == A.shape[:2] for look in looks)


def test_a_file_is_read_once_for_all_questions_on_it(
    model: InteractVLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hoirecon.contact.inference import looking

    path = tmp_path / "a.png"
    Image.fromarray(A).save(path)
    read: list[Any] = []

    def counted(image: Any) -> LoadedImage:
        read.append(image)
        return read_image(image)

    monkeypatch.setattr(looking, "read_image", counted)
    _looker(model).look_at_all([(path, None)] * 5)
    assert len(read) == 1


def test_the_last_used_stay(model: InteractVLM) -> None:
    looker = _looker(model, kept=2)
    a, b = (looker.look_at_all([(image, None)])[0] for image in (A, B))
    assert looker.look_at_all([(A, None)])[0] is a
    looker.look_at_all([(C, None)])
    assert looker.look_at_all([(A, None)])[0] is a, "used after B"
    assert looker.look_at_all([(B, None)])[0] is not b
    looker.forget()
    assert looker.look_at_all([(A, None)])[0] is not a


def test_more_photographs_than_are_kept(model: InteractVLM) -> None:
    looks = _looker(model, kept=1).look_at_all([(A, None), (B, None), (C, None), (A, None)])
    assert looks[0] is looks[3]
    assert [look.rgb[0, 0].tolist() for look in looks[:3]] == [x[0, 0].tolist() for x in (A, B, C)]


def test_all_states_are_those_of_the_whole_text(model: InteractVLM) -> None:
    looker = _looker(model)
    look = looker.look_at_all([(A, None)])[0]
    question = "Which body parts are in contact with the bottle? Segment these contact areas."
    found = looker.answer_all([look], [question], [None], 64)[0]
    states = looker.all_states(look, question, found.ids)
    prompt = image_prompt_ids(model.tokenizer, inference_prompt(question))
    patches = model.network.config.vision.num_patches
    assert states.shape[0] == len(prompt) - 1 + patches + len(found.ids) - 1
    place = found.ids.index(found.contact_ids[0])
    before = states[len(prompt) - 1 + patches + place - 1]
    assert torch.allclose(before, found.states[0], atol=1e-4)


def test_a_person_of_two_numbers(model: InteractVLM) -> None:
    with pytest.raises(InputError, match="x, y, width, height"):
        _looker(model).look_at_all([(A, (1, 2))])
