"""The estimator's door, on a toy network that says what it was told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.contact import EstimatorConfig, ImageContact, InteractVLM, Query
from hoirecon.contact.inference.localizing import CUT_OFF, NO_TOKEN, OTHER_TOKEN, SEVERAL_TOKENS
from hoirecon.contact.inference.queries import Kind
from hoirecon.contact.plain import plain_contact
from hoirecon.contact.prompting.tokenizer import ContactTokenizer
from hoirecon.contact.toy import teach_answers, toy_model, write_toy_tokenizer
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from tests.contact.toy_scene import SAYS, ball, gap, like, photograph, queries_on, told

A, B = photograph(0), photograph(1)
MESH = ball()


@pytest.fixture(scope="module")
def model() -> InteractVLM:
    return told(A)


@pytest.fixture(autouse=True)
def _nothing_global() -> Any:
    """No call may change what other code of the process relies on."""
    before = _globals()
    yield
    assert _globals() == before


def _globals() -> tuple[Any, ...]:
    return (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cuda.matmul.allow_tf32,
        hash(torch.get_rng_state().numpy().tobytes()),
        hash(str(np.random.get_state())),  # noqa: NPY002
    )


# ------------------------------------------------------------------------------------------------------------ answers


def test_each_kind_says_what_it_was_told(model: InteractVLM) -> None:
    human, thing, use, image = model.ask(queries_on(A))
    assert isinstance(human, ContactMap)
    assert human.answer == "The contacting body parts are left_palm, right_palm, and the contact region is [HSEG]."
    assert human.named_parts == ("left_palm", "right_palm")
    assert human.topology == model.body_model.topology
    assert human.to_parts()["left_palm"].num_verts == len(model.body_model.parts.verts_of("left_palm"))
    assert thing.answer == "It is [OSEG]."
    assert isinstance(thing, ContactMap)
    assert thing.topology == MESH.topology
    assert use.answer == "The affordance type is grasp, and the contact region is [OSEG]."
    assert isinstance(image, ImageContact)
    assert image.answer == "Sure, [SEG]."
    assert image.probability.shape == A.shape[:2]
    for found in (human, thing, use, image):
        assert found.label == "bottle"
        assert found.source == "interactvlm"
        assert found.notes == ()
        assert found.probability.std() > 0.02, "random weights must not say the same everywhere"
    assert gap(thing, use) > 1e-3, "another question, another embedding"


def test_methods_are_ask_in_other_words(model: InteractVLM) -> None:
    human, thing, use, image = model.ask(queries_on(A))
    assert gap(model.human_contact(A, "bottle"), human) < 1e-6
    assert gap(model.object_contact(A, "bottle", MESH), thing) < 1e-6
    assert gap(model.affordance(A, "bottle", MESH), use) < 1e-6
    assert gap(model.image_contact(A, "bottle"), image) < 1e-6


@pytest.mark.parametrize(
    ("says", "note"),
    [
        ("Nobody touches it.", NO_TOKEN),
        ("It is {token}, and it is {token}.", SEVERAL_TOKENS.format(n=2)),
        ("It is [OSEG].", OTHER_TOKEN.format(role="object")),
        ("It is [SEG].", OTHER_TOKEN.format(role="general")),
    ],
)
def test_odd_answers_are_results_with_a_note(says: str, note: str) -> None:
    found = told(A, {"human": says}).human_contact(A, "bottle")
    assert found.notes == (note,)
    assert found.any(0.0) == (note != NO_TOKEN)


def test_of_several_tokens_the_first_counts() -> None:
    several, one = "It is {token}, and so on, and it is {token}.", "It is {token}."
    twice = told(A, {"human": several}).human_contact(A, "bottle")
    once = told(A, {"human": one}).human_contact(A, "bottle")
    assert gap(twice, once) < 1e-5


def test_a_long_answer_is_cut_off_and_says_so(model: InteractVLM) -> None:
    short = like(model, EstimatorConfig(max_new_tokens=3))
    found = short.human_contact(A, "bottle")
    assert found.notes == (CUT_OFF.format(n=3), NO_TOKEN)
    assert not found.any(0.0)
    image = short.image_contact(A, "bottle")  # "Sure", ",", token: cut off after what matters
    assert CUT_OFF.format(n=3) in image.notes


def test_no_token_in_an_image() -> None:
    found = told(A, {"image": "Nothing."}).image_contact(A, "bottle")
    assert found.notes == (NO_TOKEN,)
    assert found.probability.shape == A.shape[:2]
    assert not found.mask(0.0).any()


def test_given_answers_replace_generation(model: InteractVLM) -> None:
    made = model.human_contact(A, "bottle")
    given, bare = model.ask(
        [Query("human", A, "bottle", answer=SAYS["human"]), Query("human", A, "bottle", answer="It is {token}.")]
    )
    assert given.answer == made.answer
    assert gap(given, made) < 1e-5
    assert bare.answer == "It is [HSEG]."
    assert gap(bare, made) > 1e-3


def test_own_words_reach_the_model(model: InteractVLM) -> None:
    asked = Query("human", A, "Tennis Racket", question="Where is the {object} held?")
    assert model.question_of(asked) == "Where is the Tennis Racket held?"
    plain = model.question_of(Query("human", A, "Tennis Racket"))
    assert plain == "Which body parts are in contact with the tennis_racket? Segment these contact areas."
    for bad in ("", " ?!", "a" * 5000, 7):
        with pytest.raises(InputError, match="question"):
            model.human_contact(A, "cup", question=bad)


# ------------------------------------------------------------------------------------- together, one by one, plainly


def test_any_mix_is_one_by_one_is_the_plain_procedure(model: InteractVLM) -> None:
    given = [replace(query, answer=SAYS[query.kind]) for query in queries_on(B, "cup")]
    queries = [*given, *queries_on(A), Query("human", A, "scene")]
    for order in (queries, queries[::-1]):
        together = like(model).ask(order, view_masks=True)
        for query, found in zip(order, together, strict=True):
            alone = like(model).ask([query])[0]
            assert found.answer == alone.answer
            assert gap(found, alone) < 1e-5


def test_equal_to_the_plain_procedure(model: InteractVLM) -> None:
    for query in queries_on(A)[:3]:
        ours, theirs = model.ask([query], view_masks=True)[0], plain_contact(model, query)
        assert isinstance(ours, ContactMap)
        assert ours.view_masks is not None
        masks = np.stack(list(ours.view_masks.values()))
        assert np.abs(masks - torch.sigmoid(theirs.logits).numpy()).max() < 1e-5
        assert np.abs(ours.probability - theirs.probability.numpy()).max() < 1e-5


def test_small_batches_give_the_same(model: InteractVLM) -> None:
    queries = [*queries_on(A), *queries_on(B)]
    wanted = like(model).ask(queries)
    for n in (1, 3):
        found = like(model, EstimatorConfig(questions_at_once=n)).ask(queries)
        assert max(gap(a, b) for a, b in zip(found, wanted, strict=True)) < 1e-5


def test_nothing_is_asked(model: InteractVLM) -> None:
    assert model.ask([]) == []


def test_joint_contact(model: InteractVLM) -> None:
    flat = ball(0.4)
    by_name = model.joint_contact(A, ["bottle", "bench"], {"bench": flat})
    by_place = model.joint_contact(A, ["bottle", "bench"], [None, flat])
    for found in (by_name, by_place):
        assert [part.label for part in found] == ["bottle", "bench"]
        assert found[0].object is None
        assert found[1].object is not None
        assert found[1].object.topology == flat.topology
        assert gap(found[1].object, model.object_contact(A, "bench", flat)) < 1e-5
        assert gap(found[0].human, model.human_contact(A, "bottle")) < 1e-5
    assert all(part.object is None for part in model.joint_contact(A, ["bottle", "bench"]))
    for labels, meshes, says in (
        ("bottle", None, "list"), ([], None, "at least one"), (["a"], [], "as many"), (["a"], {"b": flat}, "'b'"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=says):
            model.joint_contact(A, labels, meshes)


def test_a_name_twice_gets_a_mesh_each(model: InteractVLM) -> None:
    first, second = model.joint_contact(A, ["cup", "cup"], [MESH, ball(0.3)])
    assert first.object is not None
    assert second.object is not None
    assert first.object.topology == second.object.topology  # the same faces
    assert gap(first.object, second.object) > 1e-3


# ------------------------------------------------------------------------------------------------- nothing done twice


class Count:
    """Counts calls of a method and lets them through."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.shapes: list[tuple[int, ...]] = []
        original = getattr(owner, name)

        def counted(first: Any, *args: Any, **more: Any) -> Any:
            self.shapes.append(tuple(first.shape))
            return original(first, *args, **more)

        patch.setattr(owner, name, counted)


def test_every_picture_is_encoded_once(model: InteractVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = like(model)
    photos = Count(monkeypatch, fresh.network.vlm, "image_tokens")
    views = Count(monkeypatch, fresh.network.mv_loc, "encode")
    fresh.ask([*queries_on(A), *queries_on(B), *queries_on(A.copy(), "cup")])
    assert [shape[0] for shape in photos.shapes] == [2], "two photographs, in one batch"
    sizes = sorted(shape[0] for shape in views.shapes)
    assert sizes == [1, 1, 4, 4], "each photograph for contact in it, the body, the object"
    fresh.ask(queries_on(A, "bench"))
    assert len(photos.shapes) == 1
    assert len(views.shapes) == 4


def test_photographs_are_forgotten_in_turn(model: InteractVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = like(model, EstimatorConfig(photographs_kept=1))
    photos = Count(monkeypatch, fresh.network.vlm, "image_tokens")
    for image in (A, A, B, A):
        fresh.human_contact(image, "bottle")
    assert len(photos.shapes) == 3


def test_a_look_answers_again_and_again(model: InteractVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    look = model.look(A)
    model.looker.forget()
    photos = Count(monkeypatch, model.network.vlm, "image_tokens")
    assert gap(model.human_contact(look, "bottle"), like(model).human_contact(A, "bottle")) < 1e-6
    model.image_contact(look, "cup")
    assert len(photos.shapes) == 1, "only by the other estimator"
    with pytest.raises(InputError, match="another model"):
        toy_model().human_contact(look, "bottle")
    with pytest.raises(InputError, match="give person to look"):
        model.human_contact(look, "bottle", person=(0, 0, 30, 30))


# -------------------------------------------------------------------------------------------------------- one of many


BOX = (50, 10, 20, 30)


def _ask(model: InteractVLM, kind: Kind, image: Any, person: Any = None) -> Any:
    return model.ask([Query(kind, image, "bottle", person=person, answer=SAYS[kind])])[0]


def test_a_person_by_box_is_the_window_round_it(model: InteractVLM) -> None:
    look = model.look(A, BOX)
    assert look.window is not None
    assert look.rgb.shape[0] == look.rgb.shape[1] == look.window.side
    cut = _ask(model, "human", look.rgb)
    assert gap(_ask(model, "human", A, BOX), cut) < 1e-6
    assert gap(_ask(model, "human", look), cut) < 1e-6
    assert gap(_ask(model, "human", A), cut) > 1e-3


def test_contact_in_the_image_is_in_the_photographs_pixels(model: InteractVLM) -> None:
    window = model.look(A, BOX).window
    assert window is not None
    found = _ask(model, "image", A, BOX)
    assert found.probability.shape == A.shape[:2]
    inside = np.zeros(A.shape[:2], bool)
    inside[max(window.y, 0) : window.y + window.side, max(window.x, 0) : window.x + window.side] = True
    assert not inside.all()
    assert (found.probability[~inside] == 0).all()
    assert (found.probability[inside] > 0).all()
    cut = _ask(model, "image", window.cut(A))
    rows, cols = np.nonzero(inside)
    assert np.allclose(found.probability[inside], cut.probability[rows - window.y, cols - window.x], atol=1e-6)


def test_a_person_at_the_rim_reaches_beyond_the_photograph(model: InteractVLM) -> None:
    tall = (70, 0, 20, 60)
    window = model.look(A, tall).window
    assert window is not None
    assert window.y < 0, "a square higher than the photograph"
    found = _ask(model, "image", A, tall)
    assert found.probability.shape == A.shape[:2]
    assert (found.probability[:, window.x :] > 0).all()


def test_a_person_by_mask_hides_everybody_else(model: InteractVLM) -> None:
    mask = np.zeros(A.shape[:2], bool)
    mask[10:40, 50:70] = True
    other = A.copy()
    other[~mask] = 255 - other[~mask]
    assert gap(*(_ask(model, "human", image, mask) for image in (A, other))) < 1e-6
    assert gap(_ask(model, "human", A, mask), _ask(model, "human", A)) > 1e-3


def test_two_persons_in_one_call(model: InteractVLM) -> None:
    boxes = [BOX, (0, 10, 25, 40)]
    queries = [Query("human", A, "bottle", person=box, answer=SAYS["human"]) for box in boxes]
    left, right = like(model).ask(queries)
    assert gap(left, right) > 1e-3
    assert gap(left, _ask(model, "human", A, BOX)) < 1e-5


@pytest.mark.parametrize(
    "person", [(0, 0, 0, 5), (500, 0, 5, 5), (0, 0, 5), "left", np.zeros((60, 90)), np.ones((6, 9))]
)
def test_a_person_who_is_not_there(model: InteractVLM, person: Any) -> None:
    with pytest.raises(InputError, match="person"):
        model.human_contact(A, "bottle", person=person)


# ------------------------------------------------------------------------------------------------------ kinds of model


@pytest.mark.parametrize("token_type", ["Gen", "Gen-Int", "Gen-Hu-Obj"])
def test_every_token_type(token_type: str) -> None:
    model = told(A, token_type=token_type)
    words = {"Gen": ("[SEG]", "[SEG]"), "Gen-Int": ("[ISEG]", "[ISEG]"), "Gen-Hu-Obj": ("[HSEG]", "[OSEG]")}
    for query, word in zip(queries_on(A)[:2], words[token_type], strict=True):
        ours, theirs = model.ask([query])[0], plain_contact(model, query)
        assert word in ours.answer
        assert ours.notes == ()
        assert np.abs(ours.probability - theirs.probability.numpy()).max() < 1e-5


@pytest.mark.parametrize("encoder", ["none", "simple", "view_index"])
def test_every_camera_encoder(encoder: str) -> None:
    model = told(A, camera_encoder=encoder)
    for query in queries_on(A)[:3]:
        ours, theirs = model.ask([query])[0], plain_contact(model, query)
        assert np.abs(ours.probability - theirs.probability.numpy()).max() < 1e-5
    assert model.image_contact(A, "bottle").probability.std() > 0.02


def test_optional_parts_of_the_network() -> None:
    model = told(A, fusion=True, uncertainty=True, separate_decoders=True)
    for query in queries_on(A)[:3]:
        ours, theirs = model.ask([query])[0], plain_contact(model, query)
        assert np.abs(ours.probability - theirs.probability.numpy()).max() < 1e-5
    model.network.mv_loc.fusion = None
    assert np.abs(model.ask([query])[0].probability - ours.probability).max() > 1e-3, "the fusion took part"


def test_one_view_knows_the_photograph_only() -> None:
    model = told(A, {"image": SAYS["image"]}, token_type="Gen", num_views=1, camera_encoder="none", human_weight=0.0)
    assert model.image_contact(A, "bottle").notes == ()
    assert model.trained_for == {"general"}
    for query in queries_on(A)[:3]:
        with pytest.raises(InputError, match="ask image_contact"):
            model.ask([query])


def test_what_was_not_learned_is_said() -> None:
    model = told(A, token_type="Gen", object_weight=0.0)
    assert model.trained_for == {"human"}
    assert model.human_contact(A, "bottle").notes == ()
    (note,) = model.object_contact(A, "bottle", MESH).notes
    assert "not trained for contact on objects" in note


def test_legacy_lifting_votes(model: InteractVLM) -> None:
    hard = like(model, EstimatorConfig(lift="legacy")).human_contact(A, "bottle")
    assert set(np.unique(hard.probability)) == {0.0, 1.0}


def test_view_masks_on_request(model: InteractVLM) -> None:
    assert model.human_contact(A, "bottle").view_masks is None
    masks = model.human_contact(A, "bottle", view_masks=True).view_masks
    assert masks is not None
    side = model.network.config.sam.img_size
    assert list(masks) == ["topfront", "bottomfront", "topback", "bottomback"]
    assert all(mask.shape == (side, side) for mask in masks.values())
    thing = model.object_contact(A, "bottle", MESH, view_masks=True)
    assert thing.view_masks is not None
    assert list(thing.view_masks) == ["frontleft", "frontright", "backleft", "backright"]


def test_templates_follow_the_training(model: InteractVLM) -> None:
    ask = Query("object", A, "cup", mesh=MESH)
    assert model.question_of(ask).startswith("Segment the area on the cup")
    afford = toy_model(object_questions="afford")
    assert afford.question_of(ask).startswith("What type of affordance")
    assert like(afford, EstimatorConfig(object_questions="simple")).question_of(ask) == model.question_of(ask)
    demo = like(afford, EstimatorConfig(released_demo_prompt=True))
    assert demo.question_of(Query("affordance", A, "cup", mesh=MESH))[0] == '"'
    second = like(model, EstimatorConfig(question_index=1)).question_of(Query("human", A, "cup"))
    assert second.startswith("Name and segment")
    with pytest.raises(InputError, match="no number 9"):
        like(model, EstimatorConfig(question_index=9)).human_contact(A, "cup")


@pytest.mark.parametrize(
    "bad", [{"lift": "hard"}, {"max_new_tokens": 0}, {"questions_at_once": 0}, {"photographs_kept": 0},
            {"view_batch": 0}, {"question_index": -1}],
)  # fmt: skip
def test_settings_that_make_no_sense(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        EstimatorConfig(**bad)


# ------------------------------------------------------------------------------------------------------------- itself


def test_it_says_what_it_is(model: InteractVLM) -> None:
    text = repr(model)
    for word in ("human and object", "4 views", "Gen-Hu-Obj", "float32", "cpu"):
        assert word in text
    assert "90 x 60" in repr(model.image_contact(A, "bottle"))


def test_it_moves(model: InteractVLM) -> None:
    before = model.human_contact(A, "bottle")
    assert model.to("cpu") is model
    assert gap(model.human_contact(A, "bottle"), before) < 1e-6
    with pytest.raises(InputError, match="choose cpu"):
        model.to("cuda:7")
    with pytest.raises(InputError, match="no device"):
        model.to("gpu")


def test_words_of_another_model_are_refused(model: InteractVLM, tmp_path: Path) -> None:
    write_toy_tokenizer(tmp_path, "Gen-Hu-Obj", ("one two",))
    with pytest.raises(InputError, match="came with the weights"):
        InteractVLM(model.network, ContactTokenizer.from_folder(tmp_path))
    with pytest.raises(InputError, match=r"needs \[HSEG\]"):
        InteractVLM(model.network, toy_model(token_type="Gen").tokenizer)


def test_bfloat16_and_float64_run(model: InteractVLM) -> None:
    double = told(A)
    double.network.double()
    ours, theirs = double.human_contact(A, "bottle"), model.human_contact(A, "bottle")
    assert double.dtype == torch.float64
    assert gap(ours, theirs) < 1e-4
    half = told(A)
    half.network.bfloat16()
    assert half.human_contact(A, "bottle").probability.std() > 0.02


def test_teaching_several_questions_on_several_photographs() -> None:
    model = toy_model(object_questions="simple")
    said = {Query("human", image, label): f"It is {{token}} of {i}." for i, (image, label) in
            enumerate([(A, "cup"), (A, "bench"), (B, "cup")])}  # fmt: skip
    teach_answers(model, said)
    answers = [found.answer for found in model.ask(list(said))]
    assert answers == [text.format(token="[HSEG]") for text in said.values()]
