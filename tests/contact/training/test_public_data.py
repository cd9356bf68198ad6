"""Public data as training samples: fixture -> lessons -> batch -> a teacher-forced loss, and every step between."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from hoirecon.contact.inference.gallery import Gallery
from hoirecon.contact.lifting import lift_human
from hoirecon.contact.prompting.conversation import image_prompt_ids, inference_prompt
from hoirecon.contact.prompting.parts import named_parts
from hoirecon.contact.prompting.templates import templates
from hoirecon.contact.rendering.types import PixelMaps, PointMaps
from hoirecon.contact.rendering.view_cache import ViewCache
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from hoirecon.contact.toy import toy_model
from hoirecon.contact.training.contact_losses import WORD_IGNORE
from hoirecon.contact.training.public.batches import SampleMaker, TrainingSet, ahead, queries_of, settings, to_device
from hoirecon.contact.training.public.catalogue import ContactSource, groups_of
from hoirecon.contact.training.public.fixtures import write_hoi_vqa
from hoirecon.contact.training.public.lessons import Lesson
from hoirecon.contact.training.public.mixing import Mixture, Share
from hoirecon.contact.training.public.recipes import RECIPES, open_recipe
from hoirecon.contact.training.public.splits import Subset, part_of, train_and_validation
from hoirecon.contact.training.public.stage import Stage
from hoirecon.contact.training.public.targets import view_masks
from hoirecon.contact.training.public.texts import PartWords, TextConfig, ids_and_labels, turns_of
from hoirecon.contact.training.step import Sample, training_step
from hoirecon.data.body import load_body
from hoirecon.data.datasets import open_dataset
from hoirecon.data.datasets.fixtures import (
    write_damon,
    write_lemon,
    write_piad,
    write_pico_db,
    write_rich,
)
from hoirecon.data.datasets.stand_in_body import stand_in_mesh
from hoirecon.errors import InputError


@cache
def model() -> Any:
    return toy_model("tiny", "Gen-Hu-Obj", 0)


@cache
def part_words() -> PartWords:
    """Parts of the free body on its stand-in, by the nearest vertex."""
    body = load_body()
    nearest = cKDTree(body.rest_verts).query(stand_in_mesh().verts)[1]
    names = ("left_hand", "right_hand", "back", "left_foot", "right_foot")
    verts = tuple(np.flatnonzero(body.parts.mask_of(name)[nearest]) for name in names)
    return PartWords(tuple(n.replace("_", " ") for n in names), verts, 6890)


def maker(folder: Path | None = None, encode: bool = True, **text: Any) -> SampleMaker:
    cache_of = None if folder is None else ViewCache(folder)
    stage = Stage(Gallery(model().network, ZBufferRenderer(), cache_of), stand_in_mesh(), encode)
    return SampleMaker(stage, model().tokenizer, part_words(), TextConfig(**text))


def damon(folder: Path, samples: int = 9) -> ContactSource:
    write_damon(folder, samples, split="trainval", smplx=False)
    return ContactSource(open_dataset("damon", folder, "trainval", per="object"), ("human",))


def losses(batch: list[Sample]) -> dict[str, float]:
    with torch.no_grad():
        return training_step(model().network, batch).floats()


# ------------------------------------------------------------------------------------------------------- whole way
def test_damon_runs_from_its_archive_to_a_loss(tmp_path: Path) -> None:
    source = damon(tmp_path)
    assert len(source.entries) == 8  # of 9 pairs one has an empty list
    assert source.left_out == {"nothing in contact": 1}
    lessons = TrainingSet(Mixture([Share(1.0, (source,))], per_epoch=8), maker(part_dropout=0.0), batch=4)
    batch = lessons.batch(0)
    assert batch[0].features is batch[1].features  # the body's views are encoded once
    for sample in batch:
        assert sample.target is not None
        assert isinstance(sample.target.maps, PixelMaps)
        assert sample.target.contact is not None
        assert sample.target.contact.sum() > 0
        assert (sample.target.mask == -1).any()
        assert int((sample.input_ids == model().tokenizer.id_of("[HSEG]")).sum()) == 1
    parts = losses(batch)
    assert losses(to_device(batch, "cpu")) == parts
    assert all(parts[name] > 0 for name in ("tokens", "focal", "human"))
    assert parts["object"] == parts["affordance"] == 0
    torch.autograd.backward(training_step(model().network, batch).total)


def test_pictures_and_features_cost_the_same(tmp_path: Path) -> None:
    source = damon(tmp_path / "damon", 3)
    mixture = Mixture([Share(1.0, (source,))], per_epoch=3)
    kept = TrainingSet(mixture, maker(tmp_path / "views"), batch=2).batch(0)
    drawn = TrainingSet(mixture, maker(encode=False), batch=2).batch(0)
    assert kept[0].views is None
    assert drawn[0].views is drawn[1].views
    assert losses(kept) == pytest.approx(losses(drawn), rel=1e-4)
    again = TrainingSet(mixture, maker(tmp_path / "views"), batch=2).batch(0)  # from the disk
    assert losses(again) == losses(kept)


def test_objects_clouds_and_scenes_reach_their_losses(tmp_path: Path) -> None:
    write_pico_db(tmp_path / "pico", 2)
    write_lemon(tmp_path / "lemon", 2)
    write_piad(tmp_path / "piad", 3)
    write_rich(tmp_path / "rich", 1, split="train", cameras=1)
    pico = ContactSource(open_dataset("pico", tmp_path / "pico", "all"), ("object",))
    lemon = ContactSource(open_dataset("lemon", tmp_path / "lemon", "train"), ("human", "affordance"))
    piad = ContactSource(open_dataset("piad", tmp_path / "piad", "seen-train"), ("affordance",))
    rich = ContactSource(open_dataset("rich", tmp_path / "rich", "train"), ("human",))
    assert piad.left_out == {"nothing in contact": 1}  # the last cloud has no positive point
    assert {entry.task for entry in lemon.entries} == {"human", "affordance"}
    assert {entry.label for entry in rich.entries} == {"scene"}
    make, batch = maker(), []
    for source in (pico, lemon, piad, rich):
        for entry in source.entries[:2]:
            batch.append(make.sample(source.lesson(entry), np.random.default_rng(0)))
    parts = losses(batch)
    assert all(parts[name] > 0 for name in ("tokens", "focal", "squared", "human", "object", "affordance")), parts
    clouds = [s.target for s in batch if s.target is not None and s.target.kind == "affordance"]
    assert all(isinstance(target.maps, PointMaps) for target in clouds)
    object_id = model().tokenizer.id_of("[OSEG]")
    assert all((object_id in s.input_ids) == (s.target is not None and s.target.kind != "human") for s in batch)


def test_lemons_clouds_can_be_drawn_nearer_with_smaller_points() -> None:
    """Three points on the vertical; from 30 degrees below, the top one is at 1.732 x 0.866 / (distance + 0.5)."""
    points, contact, gallery = np.array([[0.0, -1, 0], [0, 0, 0], [0, 1, 0]]), np.full(3, 0.5), maker().stage.gallery
    for name, near, radius, distance in (
        ("piad", True, 0.05, 2.0),
        ("lemon", False, 0.05, 2.0),
        ("lemon", True, 0.03, 1.5),
    ):
        stage = Stage(gallery, near_lemon=near)
        scene = stage.scene(Lesson("affordance", Path("x.jpg"), "mug", contact, thing=points, dataset=name))
        assert isinstance(scene.target.maps, PointMaps)
        seen = scene.target.maps.points[2]
        side = seen.shape[0]
        assert abs((seen == 1).sum() - np.pi * (radius * side / 2) ** 2) < 6
        row = np.nonzero(seen == 2)[0].mean() + 0.5
        assert 1 - 2 * row / side == pytest.approx(np.sqrt(3) * np.cos(np.pi / 6) / (distance + 0.5), abs=0.02)
        assert scene.cameras is not None
        assert float(scene.cameras[2, 0]) == pytest.approx(0.2)  # FeatLift is told 2.0 of either


# ----------------------------------------------------------------------------------------------------------- masks
def maps_of(faces: list[list[int]], num_verts: int = 5) -> PixelMaps:
    """One view of one row, a pixel per triangle and one of background."""
    verts = np.array([*faces, [-1, -1, -1]], np.int32)[None, None]
    return PixelMaps(verts, np.where(verts < 0, -1, 1 / 3).astype(np.float32), num_verts, ("v",))


def test_masks_by_hand() -> None:
    maps = maps_of([[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    contact = np.array([1.0, 1.0, 0.5, 0.49, 0.0])
    assert view_masks(contact, maps, 3)[0, 0].tolist() == [1, 0, 0, -1]
    assert view_masks(contact, maps, 2)[0, 0].tolist() == [1, 1, 0, -1]
    assert view_masks(contact, maps, 1)[0, 0].tolist() == [1, 1, 1, -1]
    points = PointMaps(np.array([[[3, -1, 0]]], np.int32), 5, ("v",))
    assert view_masks(contact, points)[0, 0].tolist() == pytest.approx([0.49, -1, 1])
    with pytest.raises(InputError, match="another mesh"):
        view_masks(contact[:4], maps)
    with pytest.raises(InputError, match="three vertices"):
        view_masks(contact, maps, 4)


def test_masks_lift_back_to_the_contact_they_were_made_of() -> None:
    """Inside a patch every pixel is contact, far from it none is."""
    mesh = stand_in_mesh()
    contact = np.zeros(6890)
    near = cKDTree(mesh.verts).query_ball_point(mesh.verts[1000], 0.15)
    contact[near] = 1
    scene = maker().stage.scene(Lesson("human", Path("x.jpg"), "cup", contact, "standin-6890"))
    assert isinstance(scene.target.maps, PixelMaps)
    sure = torch.where(scene.target.mask == 1, 20.0, -20.0)
    lifted = lift_human(sure[None], scene.target.maps)[0].numpy()
    seen = np.unique(scene.target.maps.verts[scene.target.maps.verts >= 0])
    far = np.setdiff1d(seen, cKDTree(mesh.verts).query_ball_point(mesh.verts[1000], 0.25))
    inside = np.intersect1d(seen, cKDTree(mesh.verts).query_ball_point(mesh.verts[1000], 0.08))
    assert len(inside) > 3
    assert lifted[far].max() < 1e-6
    assert lifted[inside].min() > 0.5


# ----------------------------------------------------------------------------------------------------------- texts
def test_parts_are_named_from_a_tenth_of_their_vertices_on() -> None:
    words = PartWords(("left hand", "left foot"), (np.arange(10), np.arange(10, 30)), 30)
    contact = np.zeros(30)
    contact[[0, 10]] = 1
    assert words.touched(contact) == ("left hand",)
    contact[11] = 0.5
    assert words.touched(contact) == ("left hand", "left foot")
    contact[11] = 0.4
    assert words.touched(contact, share=0.05) == ("left hand", "left foot")
    with pytest.raises(InputError, match="30"):
        words.touched(np.zeros(31))


def test_part_words_come_from_a_body_or_a_file(tmp_path: Path) -> None:
    body = load_body()
    words = PartWords.of(body.parts, ("left_hand", "right_foot"))
    assert words.names == ("left hand", "right foot")
    assert words.touched(body.parts.mask_of("right_foot").astype(float)) == ("right foot",)
    (tmp_path / "parts.json").write_text('{"leftHand": [3, 1, 1], "neck [SEG]": [2]}', encoding="utf-8")
    read = PartWords.read(tmp_path / "parts.json", 4)
    assert read.names == ("leftHand", "neck [ SEG]")
    assert read.verts[0].tolist() == [1, 3]
    for text, message in (('{"a": [9]}', "vertex 9"), ('{"a": ["x"]}', "whole vertex ids"), ("[1]", "names of parts")):
        (tmp_path / "bad.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            PartWords.read(tmp_path / "bad.json", 4)


def human(contact: Any) -> Lesson:
    return Lesson("human", Path("x.jpg"), "tennis racket", contact, "standin-6890")


def test_questions_and_answers_are_the_published_ones() -> None:
    contact = np.zeros(6890)
    contact[part_words().verts[0]] = contact[part_words().verts[4]] = 1
    tokens, rng = model().network.config.tokens, np.random.default_rng(0)
    asked, said = set(), set()
    for _ in range(200):
        ((question, answer),) = turns_of(human(contact), tokens, part_words(), TextConfig(part_dropout=0.5), rng)
        asked.add(question)
        said.add(answer)
        simple = any(question == q.format(class_name="tennis_racket") for q in templates("human", "simple").questions)
        assert named_parts(answer) == (() if simple else ("left hand", "right foot"))  # both or neither are swapped
        assert "[HSEG]" in answer
    assert len(asked) == len(said) == 10


def test_half_of_the_parts_are_dropped() -> None:
    contact = np.ones(6890)
    tokens, rng = model().network.config.tokens, np.random.default_rng(1)
    for share in (0.0, 0.5, 1.0):
        drawn = [
            turns_of(human(contact), tokens, part_words(), TextConfig(part_dropout=share), rng) for _ in range(300)
        ]
        dropped = np.mean(["left hand" not in turns[0][1] for turns in drawn])
        assert abs(dropped - share) < 0.1
    few = np.zeros(6890)
    few[part_words().verts[0][0]] = 1
    ((_, answer),) = turns_of(human(few), tokens, part_words(), TextConfig(part_dropout=0.0), rng)
    assert "parts" not in answer  # nothing to name


def test_labels_begin_where_generation_does() -> None:
    tokenizer = model().tokenizer
    for answer in ("It is [HSEG].", "[HSEG]."):
        ids, labels = ids_and_labels(tokenizer, [("Where is it?", answer)])
        asked = image_prompt_ids(tokenizer, inference_prompt("Where is it?"))
        assert ids[: len(asked)].tolist() == asked
        assert (labels[: len(asked)] == WORD_IGNORE).all()
        assert labels[len(asked) :].tolist() == [*tokenizer.encode(answer, bos=False), tokenizer.eos_id]


def test_every_answer_of_a_conversation_is_learned_and_no_question() -> None:
    tokenizer = model().tokenizer
    turns = [("What is it?", "A cup."), ("Who holds it?", "A hand."), ("Where?", "Left.")]
    ids, labels = ids_and_labels(tokenizer, turns)
    expected = [i for _, said in turns for i in (*tokenizer.encode(said, bos=False), tokenizer.eos_id)]
    assert labels[labels != WORD_IGNORE].tolist() == expected
    assert (ids == -200).sum() == 1
    short, cut = ids_and_labels(tokenizer, turns, 200)
    assert len(short) == len(cut) == min(200, len(ids))
    with pytest.raises(InputError, match="too long"):
        ids_and_labels(tokenizer, turns, 20)


# ------------------------------------------------------------------------------------------------- mixing and splits
class Listed:
    """A source of numbers."""

    def __init__(self, name: str, count: int) -> None:
        from hoirecon.contact.training.public.lessons import Entry

        self.name = self.fingerprint = name
        self.entries = tuple(Entry(k, "words", "", f"{name}{k // 2}") for k in range(count))

    def lesson(self, entry: Any) -> Lesson:
        raise NotImplementedError


def test_mixing_keeps_rates_and_repeats_nothing_before_all_is_seen() -> None:
    a, b, c = Listed("a", 50), Listed("b", 400), Listed("c", 7)
    mixture = Mixture([Share(9.0, (a, b)), Share(3.0, (c,))], per_epoch=1000, seed=3)
    draws = [d for epoch in range(4) for d in mixture.plan(epoch)]
    counts = Counter(d.source for d in draws)
    for source, chance in enumerate((0.375, 0.375, 0.25)):
        assert abs(counts[source] / 4000 - chance) < 4 * (chance * (1 - chance) / 4000) ** 0.5
    for source, listed in enumerate((a, b, c)):
        seen = [d.entry for d in draws if d.source == source]
        size = len(listed.entries)
        for turn in range(len(seen) // size):  # over the borders of epochs too
            assert sorted(seen[turn * size : (turn + 1) * size]) == list(range(size))
    assert seen[:7] != seen[7:14]


def test_a_run_goes_on_with_what_it_would_have_drawn() -> None:
    sources = (Listed("a", 50), Listed("b", 30))
    make = maker()
    whole = TrainingSet(Mixture([Share(1.0, sources)], 40, seed=5), make, batch=4)
    drawn = [whole.draws(step) for step in range(25)]
    later = TrainingSet(Mixture([Share(1.0, sources)], 40, seed=5), make, batch=4)
    begin = later.step_at(whole.position(13))
    assert begin == 13
    assert [later.draws(step) for step in range(begin, 25)] == drawn[13:]
    ranks = [TrainingSet(Mixture([Share(1.0, sources)], 40, seed=5), make, 2, rank, 2) for rank in (0, 1)]
    assert ranks[0].draws(7) + ranks[1].draws(7) == drawn[7]
    other = TrainingSet(Mixture([Share(1.0, sources)], 40, seed=6), make, batch=4)
    assert other.draws(0) != drawn[0]
    with pytest.raises(InputError, match="other data"):
        other.step_at(whole.position(13))
    with pytest.raises(InputError, match="no whole step"):
        TrainingSet(Mixture([Share(1.0, sources)], 40, seed=5), make, batch=8).step_at(whole.position(13))


def test_the_same_step_gives_the_same_batch(tmp_path: Path) -> None:
    source = damon(tmp_path, 5)
    made = [TrainingSet(Mixture([Share(1.0, (source,))], 4), maker(), batch=2) for _ in range(2)]
    for first, second in zip(ahead(made[0], 1, 3), (made[1].batch(1), made[1].batch(2)), strict=True):
        for a, b in zip(first, second, strict=True):
            assert torch.equal(a.input_ids, b.input_ids)
            assert torch.equal(a.image, b.image)
            assert a.target is not None
            assert b.target is not None
            assert torch.equal(a.target.mask, b.target.mask)


def test_validation_is_apart_by_photograph(tmp_path: Path) -> None:
    source = damon(tmp_path, 60)
    (train,), (held,) = train_and_validation([source], 0.3)
    assert set(train.entries) | set(held.entries) == set(source.entries)
    assert not groups_of([train]) & groups_of([held])
    assert 0.1 < len(held.entries) / len(source.entries) < 0.5
    shares = [part_of(f"image{k}", 0.1) == "validation" for k in range(2000)]
    assert abs(np.mean(shares) - 0.1) < 0.03
    assert Subset(source, "train", 0.3, salt=1).entries != train.entries
    test = frozenset([source.entries[0].group])
    assert source.entries[0] not in Subset(source, "train", 0.0, without=test).entries
    assert len({train.fingerprint, held.fingerprint, source.fingerprint}) == 3


def test_validation_asks_without_the_truth(tmp_path: Path) -> None:
    source = damon(tmp_path, 12)
    pairs = queries_of(source, 3)
    assert len(pairs) == 3
    for query, lesson in pairs:
        assert (query.kind, query.answer, query.question) == ("human", None, None)
        assert query.label == lesson.label


def test_lists_are_kept_by_what_they_were_made_of(tmp_path: Path) -> None:
    first = damon(tmp_path / "damon")
    kept = ContactSource(first.dataset, ("human",), folder=tmp_path / "lists")
    assert kept.entries == first.entries
    (path,) = (tmp_path / "lists").iterdir()
    path.write_text(path.read_text().replace('"chair"', '"couch"'))
    again = ContactSource(first.dataset, ("human",), folder=tmp_path / "lists")
    assert any(e.label == "couch" for e in again.entries) == any(e.label == "chair" for e in first.entries)
    path.write_text("{")  # damaged: made again
    assert ContactSource(first.dataset, ("human",), folder=tmp_path / "lists").entries == first.entries
    rename = {"supporting": "scene", "chair": ""}
    named = ContactSource(first.dataset, ("human",), rename, folder=tmp_path / "lists")
    assert not {"supporting", "chair"} & {entry.label for entry in named.entries}


def test_of_support_only_what_the_feet_touch_is_kept(tmp_path: Path) -> None:
    source = damon(tmp_path, 30)
    supports = [entry for entry in source.entries if entry.label == "supporting"]
    assert supports
    touched = source.lesson(supports[0]).contact
    assert touched is not None
    ids = np.flatnonzero(touched)
    feet = PartWords(("left foot", "right foot"), (ids[:3], np.arange(6890 - 50, 6890)), 6890)
    kept = ContactSource(source.dataset, ("human",), {"supporting": "scene"}, feet)
    scenes = [entry for entry in kept.entries if entry.label == "scene"]
    contact = kept.lesson(scenes[0]).contact
    assert contact is not None
    assert np.flatnonzero(contact)[:3].tolist() == ids[:3].tolist()
    assert set(np.flatnonzero(contact)) <= {*ids[:3], *range(6890 - 50, 6890)}
    others = [entry for entry in kept.entries if entry.label != "scene"]
    assert others == [entry for entry in source.entries if entry.label != "supporting"]
    assert kept.fingerprint != ContactSource(source.dataset, ("human",), {"supporting": "scene"}).fingerprint
    assert feet.chosen("right foot").names == ("right foot",)
    with pytest.raises(InputError, match="no part 'tail'"):
        feet.chosen("tail")


def test_recipes_open_with_the_published_rates(tmp_path: Path) -> None:
    write_damon(tmp_path / "damon", 20, split="trainval", smplx=False)
    shares, validation = open_recipe("damon", {"damon": tmp_path / "damon"}, validation=0.2)
    mixture = Mixture(shares, per_epoch=8)
    assert mixture.chances == (1.0,)
    assert len(validation) == 1
    assert [rate for rate, _ in RECIPES["joint"].shares] == [9, 9, 5, 2]
    with pytest.raises(InputError, match="needs the folder of lemon, pico, piad, vqa"):
        open_recipe("joint", {"damon": tmp_path})
    with pytest.raises(InputError, match="no recipe 'x'"):
        open_recipe("x", {})


def test_the_joint_recipe_mixes_everything(tmp_path: Path) -> None:
    write_damon(tmp_path / "damon", 6, split="trainval", smplx=False)
    write_lemon(tmp_path / "lemon", 3)
    write_pico_db(tmp_path / "pico", 3)
    write_piad(tmp_path / "piad", 4)
    write_hoi_vqa(tmp_path / "vqa", 3)
    roots = {name: tmp_path / name for name in RECIPES["joint"].data}
    shares, held = open_recipe("joint", roots, validation=0.01, splits={"pico": "all"}, lists=tmp_path / "lists")
    assert not held  # too few photographs
    mixture = Mixture(shares, per_epoch=40, seed=1)
    assert mixture.chances == pytest.approx((0.18, 0.18, 0.36, 0.1, 0.1, 0.08))
    lessons = TrainingSet(mixture, maker(), batch=10)
    tasks = {mixture.entry(draw).task for draw in lessons.draws(0)}
    parts = losses(lessons.batch(0))
    kinds = {"human": "human", "object": "object", "affordance": "affordance"}
    assert {name for name in kinds if parts[name] > 0} == tasks & set(kinds)
    assert len(tasks) >= 3
    told = settings(lessons)
    assert [source["entries"] for source in told["sources"]] == [len(s.entries) for s in mixture.sources]
    json.dumps(told)


# ------------------------------------------------------------------------------------------------------------ hostile
def test_labels_of_another_body_are_refused() -> None:
    stage = maker().stage
    with pytest.raises(InputError, match="on 'smpl', the views show 'standin-6890'"):
        stage.scene(Lesson("human", Path("x.jpg"), "cup", np.ones(6890), "smpl"))
    bare = Stage(stage.gallery)
    with pytest.raises(InputError, match="give body="):
        bare.scene(human(np.ones(6890)))
    with pytest.raises(InputError, match="no shape of the cup"):
        stage.scene(Lesson("object", Path("x.jpg"), "cup", np.ones(8)))


def test_mixtures_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="at least one share"):
        Mixture([])
    with pytest.raises(InputError, match="above 0"):
        Share(0.0, (Listed("a", 1),))
    with pytest.raises(InputError, match="nothing to draw"):
        Mixture([Share(1.0, (Listed("a", 0),))])
    with pytest.raises(InputError, match="no step of 8"):
        TrainingSet(Mixture([Share(1.0, (Listed("a", 1),))], 4), maker(), batch=8)
