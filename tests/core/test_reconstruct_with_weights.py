"""InteractVLM behind the one-call door: a folder of weights in place of geometry."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import hoirecon
from hoirecon.contact import ContactObject, InteractVLM
from hoirecon.contact.geometric import GeometricContact
from hoirecon.contact.protocols import WHOLE, ContactEstimate, PartPair
from hoirecon.contact.scene_contact import pair_up, part_probabilities
from hoirecon.data.objects import load_object
from hoirecon.errors import InputError, TopologyError
from hoirecon.fitting import FitConfig
from hoirecon.observation import box_of_mask
from hoirecon.outcome import _common
from hoirecon.perception.protocols import PersonDetection
from hoirecon.reconstruction import ReconstructConfig
from hoirecon.requests import ObjectRequest, prepare_thing
from tests.contact.checkpoints.tiny_checkpoint import write_released
from tests.contact.toy_scene import SAYS, told

QUICK = ReconstructConfig(fit=FitConfig(hypotheses=16, keep=4), rounds=1)


class KnownPerson:
    """A detector that knows the answer."""

    def __init__(self, scene: Any) -> None:
        self.seen = scene.observation

    def detect(self, image: np.ndarray) -> list[PersonDetection]:
        """The person of the scene."""
        mask = self.seen.person_mask.astype(np.float32)
        return [PersonDetection(box_of_mask(self.seen.person_mask), 0.9, self.seen.keypoints, mask)]


def _told(held_box: Any, **options: Any) -> InteractVLM:
    return told(held_box.observation.image, {k: SAYS[k] for k in ("human", "object")}, label="box", **options)


@pytest.fixture(scope="module")
def model(held_box: Any) -> InteractVLM:
    return _told(held_box)


def _estimate(model: InteractVLM, held_box: Any, name: str = "box") -> ContactEstimate:
    thing = ContactObject.of(load_object(name))
    return model.estimate(held_box.observation, held_box.body, thing)


# ------------------------------------------------------------------------------------------------------------ one call


def test_learned_contact_of_both(model: InteractVLM, held_box: Any) -> None:
    found = _estimate(model, held_box)
    mesh = load_object("box").mesh
    image = held_box.observation.image
    assert np.abs(found.body.probability - model.human_contact(image, "box").probability).max() < 1e-6
    assert np.abs(found.object.probability - model.object_contact(image, "box", mesh).probability).max() < 1e-6
    assert found.body.source == found.object.source == "interactvlm"
    assert found.flags == ()
    assert set(found.parts) == set(model.body_model.parts.names)
    assert all(0 <= p <= 1 for p in found.parts.values())
    probabilities = [pair.probability for pair in found.pairs]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len({pair.body_part for pair in found.pairs}) == len(found.pairs), "each part touches at one place"
    known = {*load_object("box").part_names, WHOLE}
    assert all(pair.object_part in known for pair in found.pairs)


def test_what_was_not_learned_comes_from_geometry(held_box: Any) -> None:
    model = _told(held_box, token_type="Gen", object_weight=0.0)
    found = _estimate(model, held_box)
    thing = ContactObject.of(load_object("box"))
    guess = GeometricContact(model.body_model).estimate(held_box.observation, held_box.body, thing)
    assert found.body.source == "interactvlm"
    assert found.object.source == guess.object.source != "interactvlm"
    assert (found.object.probability == guess.object.probability).all()
    assert sum("know nothing of contact on objects" in flag for flag in found.flags) == 1
    assert not any("not trained" in flag for flag in found.flags)


def test_object_only_weights_take_the_body_from_geometry(held_box: Any) -> None:
    model = _told(held_box, token_type="Gen", human_weight=0.0)
    found = _estimate(model, held_box)
    assert found.object.source == "interactvlm"
    assert found.body.source != "interactvlm"
    assert sum("know nothing of contact on bodies" in flag for flag in found.flags) == 1


def test_weights_for_the_photograph_only_change_nothing_but_say_so(held_box: Any) -> None:
    model = told(
        held_box.observation.image, {"image": SAYS["image"]}, token_type="Gen", num_views=1, camera_encoder="none"
    )
    found = _estimate(model, held_box)
    thing = ContactObject.of(load_object("box"))
    guess = GeometricContact(model.body_model).estimate(held_box.observation, held_box.body, thing)
    assert (found.body.probability == guess.body.probability).all()
    assert found.pairs == guess.pairs
    assert len(found.flags) == 2 + len(guess.flags)


def test_no_contact_token_is_no_contact_with_a_flag(held_box: Any) -> None:
    model = told(held_box.observation.image, {"human": "Nobody touches it.", "object": "Nobody."}, label="box")
    found = _estimate(model, held_box)
    assert not found.body.any(0.0)
    assert found.pairs == ()
    assert found.flags == ("the answer holds no contact token: no contact is reported",), "said once for both sides"


def test_another_body_is_refused(model: InteractVLM, held_box: Any) -> None:
    other: Any = SimpleNamespace(topology="smplh")
    with pytest.raises(TopologyError, match="same body model"):
        model.estimate(held_box.observation, other, ContactObject.of(load_object("box")))


def test_parts_by_their_likeliest_tenth() -> None:
    values = np.concatenate([np.zeros(90), np.ones(10)])
    found = part_probabilities(values, {"a": np.arange(100), "b": np.arange(90), "c": np.arange(95), "d": np.arange(0)})
    assert found == {"a": 1.0, "b": 0.0, "c": pytest.approx(0.5)}


def test_pairs() -> None:
    hands = {"left_palm": 0.9, "right_palm": 0.7, "belly": 0.1}
    assert pair_up(hands, {}) == (PartPair("left_palm", WHOLE, 0.9), PartPair("right_palm", WHOLE, 0.7))
    one = pair_up(hands, {"handle": 0.8, "bowl": 0.1})
    assert one == (PartPair("left_palm", "handle", 0.8), PartPair("right_palm", "handle", 0.7))
    several = {"handle": 0.8, "bowl": 0.9}
    assert {pair.object_part for pair in pair_up(hands, several)} == {WHOLE}
    guess = (PartPair("left_palm", "bowl", 0.6), PartPair("right_palm", "foot", 0.6))
    assert pair_up(hands, several, guess) == (
        PartPair("left_palm", "bowl", 0.9), PartPair("right_palm", WHOLE, 0.7)
    )  # fmt: skip


def test_own_meshes_are_asked_about_by_the_users_name(tmp_path: Path) -> None:
    mesh = load_object("box").mesh
    thing = prepare_thing(ObjectRequest("didgeridoo", (0, 0, 5, 5), mesh=mesh))
    assert thing.contact.category is None
    assert thing.contact.mesh.name == "didgeridoo"


def test_what_is_said_of_every_object_is_said_once() -> None:
    estimates: Any = [SimpleNamespace(flags=("a", "b", "a")), SimpleNamespace(flags=("c", "a"))]
    assert _common(estimates) == ["a"]
    assert _common(estimates[:1]) == []
    assert _common([]) == []


# ------------------------------------------------------------------------------------------------------- the whole way


@pytest.mark.slow
def test_reconstruct_takes_a_folder(model: InteractVLM, held_box: Any, tmp_path: Path) -> None:
    folder = write_released(tmp_path / "released", model.network)
    model.tokenizer.save(folder)
    upper, lower = (np.array(held_box.observation.object_masks[0]) for _ in range(2))
    middle = int(np.median(np.nonzero(upper)[0]))
    upper[middle:], lower[:middle] = False, False
    scene = hoirecon.reconstruct(
        held_box.observation.image,
        [ObjectRequest("box", mask=upper), ObjectRequest("box", mask=lower)],
        camera=held_box.observation.camera,
        detector=KnownPerson(held_box),
        contact=folder,
        config=QUICK,
        progress=False,
    )
    assert [pair.body_contact.source for pair in scene.contacts] == ["interactvlm"] * 2
    assert sum("trained on views of SMPL-H" in flag for flag in scene.flags) == 1, scene.flags
    assert np.isfinite(scene.objects[0].mesh_cam.verts).all()
    again = hoirecon.Scene.load(scene.save(tmp_path / "out", report=False))
    assert again.contacts[0].body_contact.answer == scene.contacts[0].body_contact.answer


def test_weights_that_do_not_load_are_said_first(held_box: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        hoirecon.reconstruct(
            held_box.observation.image,
            "box",
            object_mask=held_box.observation.object_masks[0],
            contact=tmp_path / "nowhere",
            detector=KnownPerson(held_box),
            progress=False,
        )


@pytest.mark.slow
def test_the_sample_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    from hoirecon import cli
    from hoirecon.perception.models import missing_models
    from hoirecon.sample import SAMPLE_BOX, sample_image

    if missing_models():
        pytest.skip("BlazePose's files are not on this machine: hoirecon models fetch")
    Image.fromarray(sample_image()).save(tmp_path / "astronaut.png")
    weights = told(sample_image(), {"human": SAYS["human"]}, label="helmet", token_type="Gen", object_weight=0.0)
    weights.save_pretrained(tmp_path / "weights")
    code = cli.run(
        ["reconstruct", str(tmp_path / "astronaut.png"), "--object", "helmet/full_face", "--object-box",
         ",".join(f"{v:g}" for v in SAMPLE_BOX), "--contact-weights", str(tmp_path / "weights"), "--hypotheses", "16",
         "--quiet", "--out", str(tmp_path / "out")]
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert code == 0
    assert printed.count("know nothing of contact on objects") == 1
    scene = hoirecon.Scene.load(tmp_path / "out")
    assert scene.contacts[0].body_contact.named_parts == ("left_palm", "right_palm")
    assert (tmp_path / "out" / "report.html").is_file()
