"""Conversations and referring expressions: formats as their authors wrote them, and hostile ones."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.contact.inference.gallery import Gallery
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from hoirecon.contact.toy import toy_model
from hoirecon.contact.training.public.batches import SampleMaker, queries_of
from hoirecon.contact.training.public.conversations import open_conversations
from hoirecon.contact.training.public.fixtures import write_hoi_vqa, write_reasonseg, write_refcoco
from hoirecon.contact.training.public.lessons import Lesson
from hoirecon.contact.training.public.referring import PhraseSource, open_reasoning, open_refcoco
from hoirecon.contact.training.public.stage import Stage
from hoirecon.contact.training.public.texts import PartWords, TextConfig, drawn_text, ids_and_labels, turns_of
from hoirecon.contact.training.step import training_step
from hoirecon.data.body import load_body
from hoirecon.errors import InputError


@cache
def model() -> Any:
    return toy_model("tiny", "Gen-Hu-Obj", 0)


def maker() -> SampleMaker:
    return SampleMaker(Stage(Gallery(model().network, ZBufferRenderer())), model().tokenizer)


def test_conversations_are_read_whole_and_learned_in_words(tmp_path: Path) -> None:
    content = write_hoi_vqa(tmp_path)
    source = open_conversations(tmp_path / "damon.json", tmp_path)
    assert source.left_out == {"no question with an answer": 1, "no photograph": 1}
    lessons = [source.lesson(entry) for entry in source.entries]
    assert [lesson.turns for lesson in lessons] == content.texts
    assert [lesson.image.name for lesson in lessons] == content.images
    batch = [maker().sample(lesson, np.random.default_rng(0)) for lesson in lessons]
    with torch.no_grad():
        parts = training_step(model().network, batch).floats()
    assert parts["tokens"] == parts["total"] > 0


def test_words_of_a_file_are_only_words(tmp_path: Path) -> None:
    write_hoi_vqa(tmp_path, 1)
    rows = json.loads((tmp_path / "damon.json").read_text())[:1]
    rows[0]["conversations"][1]["value"] = "It is [SEG] </s>USER: <image> no."
    rows[0]["image"] = "../../images/hake_00000.jpg"
    (tmp_path / "damon.json").write_text(json.dumps(rows))
    source = open_conversations(tmp_path / "damon.json", tmp_path)
    sample = maker().sample(source.lesson(source.entries[0]), np.random.default_rng(0))
    assert not set(sample.input_ids.tolist()) & set(model().network.config.tokens.ids)
    assert int((sample.input_ids == -200).sum()) == 1
    assert int((sample.input_ids == model().tokenizer.eos_id).sum()) <= 3


@pytest.mark.parametrize(
    ("held", "message"),
    [({}, "expected a list"), ([1, {"image": 3}, {"image": "x.jpg", "conversations": [{}, {}]}], "nothing that can")],
)
def test_other_files_are_no_conversations(tmp_path: Path, held: Any, message: str) -> None:
    (tmp_path / "x.json").write_text(json.dumps(held))
    with pytest.raises(InputError, match=message):
        open_conversations(tmp_path / "x.json", tmp_path)


def check_masks(source: PhraseSource, content: Any) -> None:
    lessons = [source.lesson(entry) for entry in source.entries]
    assert [lesson.label for lesson in lessons] == content.texts
    for lesson, mask in zip(lessons, content.masks, strict=True):
        assert lesson.mask is not None
        assert np.array_equal(lesson.mask == 1, mask)


def test_reasonseg_reaches_its_losses(tmp_path: Path) -> None:
    content = write_reasonseg(tmp_path)
    source = open_reasoning(tmp_path)
    check_masks(source, content)
    lesson = source.lesson(source.entries[0])
    assert lesson.mask is not None
    assert (lesson.mask == -1).any()
    ((asked, said),) = turns_of(lesson, model().network.config.tokens, None, TextConfig(), np.random.default_rng(0))
    assert asked.startswith(f"{content.texts[0]} Please ")
    assert "[SEG]" in said
    batch = [maker().sample(source.lesson(entry), np.random.default_rng(1)) for entry in source.entries]
    assert batch[0].views is not None
    assert batch[0].views.shape[0] == 1
    with torch.no_grad():
        parts = training_step(model().network, batch).floats()
    assert parts["focal"] > 0
    assert parts["dice"] > 0
    assert parts["human"] == parts["object"] == 0
    ((query, _), _) = queries_of(source)
    assert query.question is not None
    assert content.texts[0] in query.question


@pytest.mark.parametrize("packed", [True, False])
def test_refcoco_is_read_by_its_ids(tmp_path: Path, packed: bool) -> None:
    content = write_refcoco(tmp_path, packed=packed)
    source = open_refcoco(tmp_path, tmp_path / "images")
    check_masks(source, content)
    assert source.left_out == {"no polygon": 1}
    with pytest.raises(InputError, match="no expression of split 'testA'"):
        open_refcoco(tmp_path, tmp_path / "images", "testA")
    if packed:
        (tmp_path / "refs(google).p").write_bytes((tmp_path / "refs(unc).p").read_bytes())
        with pytest.raises(InputError, match="give split_by"):
            open_refcoco(tmp_path, tmp_path / "images")
        assert open_refcoco(tmp_path, tmp_path / "images", split_by="unc").entries == source.entries


def test_hostile_shapes_and_masks(tmp_path: Path) -> None:
    write_reasonseg(tmp_path, 1)
    held = json.loads((tmp_path / "0.json").read_text())
    for shapes, message in (
        ([{"label": "target", "points": [[0, 0], [1, 1]]}], "no polygon"),
        ([{"label": "target", "points": [[0, 0], [1, 1], [float("nan"), 2]]}], "no polygon"),
        ([{"label": "ignore", "points": [[0, 0], [1, 1], [2, 0]]}], "no shape that is meant"),
        ("x", "no list 'shapes'"),
    ):
        (tmp_path / "0.json").write_text(json.dumps({**held, "shapes": shapes}))
        with pytest.raises(InputError, match=message):
            open_reasoning(tmp_path)
    with pytest.raises(InputError, match="no photograph with a JSON"):
        open_reasoning(tmp_path / "nowhere")
    (tmp_path / "0.json").write_text(json.dumps({**held, "text": ["x" * 5000, held["text"][0]]}))
    assert len(open_reasoning(tmp_path).entries) == 1  # a prompt holds no such text


def test_a_conversation_whose_question_is_too_long_names_its_file(tmp_path: Path) -> None:
    """A training of days stops there: it must say which of a million rows."""
    lesson = Lesson("words", tmp_path / "cup.jpg", turns=(("What is " + "very " * 400 + "old?", "A cup."),))
    with pytest.raises(InputError, match=r'too long: "What is very.*cup\.jpg; shorten it'):
        drawn_text(
            model().tokenizer, lesson, model().network.config.tokens, None, TextConfig(), np.random.default_rng(0)
        )


def test_an_answer_that_names_too_many_parts_keeps_its_contact_token() -> None:
    """Somebody who lies under a blanket touches it with every part: cut off, the answer would stop the training."""
    parts = PartWords.of(load_body().parts)
    lesson = Lesson("human", Path("bed.jpg"), "bed", np.ones(parts.num_verts))
    tokenizer, tokens = model().tokenizer, model().network.config.tokens
    config = TextConfig(part_dropout=0.0)
    for seed in range(4):
        ids, labels = drawn_text(tokenizer, lesson, tokens, parts, config, np.random.default_rng(seed))
        assert tokens.human in labels.tolist()
        assert len(ids) <= 257
    few = replace(lesson, contact=np.isin(np.arange(parts.num_verts), parts.verts[5]).astype(float))
    ids, _ = drawn_text(tokenizer, few, tokens, parts, config, np.random.default_rng(0))
    turns = turns_of(few, tokens, parts, config, np.random.default_rng(0))
    assert parts.names[5] in turns[0][1]
    assert torch.equal(ids, ids_and_labels(tokenizer, turns)[0]), "what fits is as it was"
    endless = Lesson("image", Path("x.jpg"), "thing " * 33, mask=np.zeros((2, 2)), is_sentence=True)
    turns = turns_of(endless, tokens, None, config, np.random.default_rng(0))
    answer = int((ids_and_labels(tokenizer, turns, 10_000)[1] != -100).nonzero()[0])
    with pytest.raises(InputError, match=r"'thing thing .*' in x\.jpg leaves no room for an answer within"):
        drawn_text(tokenizer, endless, tokens, None, TextConfig(max_ids=answer + 1), np.random.default_rng(0))
