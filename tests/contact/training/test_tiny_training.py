"""The engine goes on bit for bit, the quick step equals the careful one, and figures are what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.contact.training.closedworld_data import Samples, draw_samples
from hoirecon.contact.training.engine import Engine, EngineConfig
from hoirecon.contact.training.evaluation import best_threshold, f1, interval, single_hands
from hoirecon.contact.training.lessons import LessonConfig, Lessons, mirror_verts, vertex_area
from hoirecon.contact.training.quick_step import lift_points, read_all, vertex_places
from hoirecon.contact.training.tiny import GROUPS, TinySize, answer_text, touched_groups
from hoirecon.contact.training.tiny_run import Model, TinyRun, engine_of, new_model
from hoirecon.errors import InputError

SMALL = TinySize(hidden=16, layers=1, tower_layers=1, heads=2, prompt=8, sam_layers=1, view_side=96)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return draw_samples("val", 11, 5)


def tiny_run(**changes: Any) -> TinyRun:
    lessons = LessonConfig(batch=3, glances=1, masked=2, things=2, things_masked=1)
    engine = EngineConfig(steps=4, checkpoint_every=2, warmup=1)
    return TinyRun(shards=1, engine=engine, lessons=lessons, size=SMALL, **changes)


def weights(model: Model) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.network.parameters()]


def test_a_run_that_was_killed_ends_in_the_same_bits(samples: Samples, tmp_path: Path) -> None:
    run = tiny_run()
    whole = new_model(run)
    engine_of(run, whole, samples, tmp_path / "whole").run(tell=lambda _: None)
    first = new_model(run)
    engine_of(run, first, samples, tmp_path / "cut").run(until=2, tell=lambda _: None)
    torch.manual_seed(123)  # what happened outside must not matter
    second = new_model(replace(run))
    engine = engine_of(run, second, samples, tmp_path / "cut")
    assert engine.step == 2
    engine.run(tell=lambda _: None)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def test_glances_teach_the_tower_and_leave_language_and_masks_as_they_were(samples: Samples, tmp_path: Path) -> None:
    run = tiny_run()
    model = new_model(run)
    before = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    engine = engine_of(run, model, samples, tmp_path)
    engine.run(until=1, tell=lambda _: None)
    moved = {name.split(".")[0] for name, p in model.network.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"vlm", "look_back", "vertex_head", "object_head"}  # of the last what is usual was written
    kept = [name for name in before if name.startswith("vlm.language_model")]
    assert all(torch.equal(dict(model.network.named_parameters())[name], before[name]) for name in kept)
    found = engine.losses(1)
    assert {"words", "direct", "vertices", "dice", "places", "objects"} <= set(found)


def test_masks_of_the_first_questions_only_are_decoded_and_heads_learn_from_all(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run()
    model = new_model(run)
    engine, seen = engine_of(run, model, samples, tmp_path), dict[str, list[int]]()
    decode, head = model.network.mv_loc.localize_many, model.network.vertex_head
    assert head is not None
    plain = head.forward

    def decoded(prompts: torch.Tensor, features: torch.Tensor, role: Any) -> torch.Tensor:
        seen.setdefault(role, []).append(len(prompts))
        return decode(prompts, features, role)

    def directly(states: torch.Tensor) -> torch.Tensor:
        seen.setdefault("head", []).append(len(states))
        return plain(states)

    monkeypatch.setattr(model.network.mv_loc, "localize_many", decoded)
    monkeypatch.setattr(head, "forward", directly)
    engine.losses(2)
    assert seen == {"human": [2], "object": [1], "head": [3]}


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    modules = nn.ModuleDict({"a": nn.Linear(2, 1)})

    def losses(step: int) -> dict[str, torch.Tensor]:
        return {"x": modules["a"](torch.ones(2)).square().sum()}

    Engine(modules, losses, EngineConfig(steps=2), tmp_path).run(tell=lambda _: None)
    with pytest.raises(InputError, match="other settings"):
        Engine(modules, losses, EngineConfig(steps=3), tmp_path)
    for damaged in (b"", b"junk", b"junk" * 100):
        (tmp_path / "checkpoint.pt").write_bytes(damaged)
        with pytest.raises(InputError, match=r"is damaged .* remove it to begin anew"):
            Engine(modules, losses, EngineConfig(steps=2), tmp_path)
    with pytest.raises(InputError, match="seed is -1"):
        EngineConfig(seed=-1)


def test_the_schedule_rises_stays_and_falls() -> None:
    config = EngineConfig(steps=100, rate=1.0, warmup=10, flat_share=0.5, last_share=0.1)
    assert config.rate_at(0) == pytest.approx(0.1)
    assert config.rate_at(30) == 1.0
    assert config.rate_at(75) == pytest.approx(0.1 + 0.9 * 0.5)
    assert config.rate_at(99) < 0.11


def test_the_rate_rises_anew_where_more_begins_to_learn() -> None:
    config = EngineConfig(steps=100, rate=1.0, warmup=10, again=20, flat_share=0.5)
    assert config.rate_at(19) == 1.0
    assert config.rate_at(20) == pytest.approx(0.1)
    assert config.rate_at(30) == 1.0


def test_common_words_read_once_give_the_states_of_reading_all() -> None:
    run = tiny_run()
    model = new_model(run)
    vlm = model.network.vlm
    before, texts = [1, 5, 6, 7], [[8, 9, 10], [11, 12]]
    pictures = torch.randn(2, 5, 16)
    states = read_all(vlm, before, pictures, texts)
    for row, text in enumerate(texts):
        words = [vlm.embed_ids(torch.tensor(ids)) for ids in (before, text)]
        plain = vlm.hidden(torch.cat([words[0], pictures[row], words[1]])[None])[0, len(before) :]
        torch.testing.assert_close(states[row, : len(plain)], plain, rtol=1e-4, atol=1e-5)


def test_masks_decoded_together_are_those_decoded_one_by_one() -> None:
    model = new_model(tiny_run())
    mv_loc = model.network.mv_loc
    prompts, features = torch.randn(3, 4, 8), torch.randn(4, 8, 12, 12)
    together = mv_loc.localize_many(prompts, features, "human")
    torch.testing.assert_close(together, mv_loc.localize(prompts, features, "human").logits, rtol=1e-4, atol=1e-5)


def test_points_stand_in_for_the_lift() -> None:
    """On smooth masks the quick lift is the estimator's to a hundredth."""
    from hoirecon.contact.lifting import lift_human
    from hoirecon.contact.training.quick_step import BodyViews

    model = new_model(tiny_run())
    views = BodyViews.of(model.gallery, model.body)
    coarse = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    logits = nn.functional.interpolate(coarse, (48, 48), mode="bilinear")
    maps = model.gallery.rendered(model.body).maps
    assert isinstance(maps, PixelMaps)
    side = maps.verts.shape[1]
    exact = lift_human(nn.functional.interpolate(logits, (side, side), mode="bilinear"), maps)
    quick, _ = lift_points(logits, views)
    assert (exact - quick).abs().mean() < 0.01
    places, seen = vertex_places(maps)
    assert ((places.abs() <= 1).all(-1) | (seen == 0)).all()


def test_lessons_depend_on_the_step_alone_and_words_name_what_touches(samples: Samples) -> None:
    run = tiny_run()
    model = new_model(run)
    lessons = Lessons(samples, model.tokenizer, model.network.config.vision, LessonConfig(batch=3, true_words=1.0), 7)
    one, again = lessons.batch(5), lessons.batch(5)
    assert torch.equal(one.evidence, again.evidence)
    assert one.answers == again.answers
    groups = touched_groups(one.contact.numpy().astype(bool))
    for row, ids in enumerate(one.answers):
        said = set(model.tokenizer.decode(ids).replace(",", " ").split()) & set(GROUPS)
        assert said == {name for name, touched in zip(GROUPS, groups[row], strict=True) if touched}
        assert one.learned_from[row] == 0


def test_groups_of_a_mirrored_body_are_the_other_sides(samples: Samples) -> None:
    contact = samples.contact(slice(None))
    mirrored = touched_groups(contact[:, mirror_verts()])
    other = {name: name.replace("left_", "*").replace("right_", "left_").replace("*", "right_") for name in GROUPS}
    assert (mirrored == touched_groups(contact)[:, [list(GROUPS).index(other[name]) for name in GROUPS]]).mean() > 0.98
    assert "left_hand" in answer_text(np.array([name == "left_hand" for name in GROUPS]), "[HSEG]")


def test_f1_of_a_small_case_by_hand() -> None:
    truth, said = np.array([[1, 1, 0, 0]], dtype=bool), np.array([[1, 0, 1, 0]], dtype=bool)
    assert f1(said, truth)[0] == pytest.approx(0.5)
    assert f1(said, truth, np.array([3.0, 1.0, 1.0, 1.0]))[0] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert f1(truth & False, truth & False)[0] == 1
    assert best_threshold(np.array([[0.6, 0.6, 0.4, 0.1]]), truth) == pytest.approx(0.4)


def test_sides_of_single_hands_by_hand() -> None:
    left, right = (list(GROUPS).index(f"{side}_hand") for side in ("left", "right"))
    true, said = np.zeros((4, len(GROUPS)), dtype=bool), np.zeros((4, len(GROUPS)), dtype=bool)
    true[0, left] = true[1, left] = true[2, right] = True  # the fourth touches with no hand
    said[0, left] = said[1, right] = said[2, right] = said[2, left] = True
    right_share, swapped_share, number = single_hands(said, true)
    assert right_share == pytest.approx(1 / 3)
    assert swapped_share == pytest.approx(1 / 3)
    assert number == 3


def test_the_interval_of_a_constant_is_a_point_and_areas_sum_to_one() -> None:
    assert interval(np.full(20, 0.4)) == pytest.approx((0.4, 0.4))
    assert float(vertex_area().sum()) == pytest.approx(1.0, abs=1e-5)
