"""What an independent reading of the estimator against the issue and the facts found worth holding."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hoirecon.contact import EstimatorConfig, InteractVLM, JointContact, Query
from hoirecon.contact.modeling.contact_tokens import Role
from hoirecon.contact.prompting.conversation import image_prompt_ids, prefix_ids, question_ids, training_text
from hoirecon.contact.prompting.templates import TEMPLATES, answers, question, templates
from hoirecon.contact.toy import teach_answers, toy_model
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

TETRAHEDRON = Mesh(
    np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]),
    "thing",
)
IMAGE = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)


@pytest.fixture(scope="module")
def model() -> InteractVLM:
    return toy_model()


KINDS: list[tuple[Role, str]] = [(role, kind) for role, kinds in TEMPLATES.items() for kind in kinds]


@pytest.mark.parametrize(("role", "kind"), KINDS)
def test_a_given_answer_has_the_ids_that_training_has(model: InteractVLM, role: Role, kind: str) -> None:
    """``Query.answer`` is the reference's teacher-forced mode: question and answer as one text of training."""
    tokenizer, asked = model.tokenizer, question(role, kind, "bottle")
    word = model.network.config.tokens.word_of(role)
    for given in answers(role, kind, "bottle", word, ("left hand",), "grasp"):
        whole = image_prompt_ids(tokenizer, training_text([(asked, given)]))
        apart = [*prefix_ids(tokenizer), *question_ids(tokenizer, asked), *model.looker._answer_ids(given)]
        assert apart == whole


def test_parts_that_only_the_checkpoint_has_a_name_for_are_reported() -> None:
    """The released models name parts of SMPL's division, the free body has others."""
    model = toy_model()
    query = Query("human", IMAGE, "bottle")
    teach_answers(
        model, {query: "The contacting body parts are left hand, right foot, and the contact region is {token}."}
    )
    found = model.human_contact(IMAGE, "bottle")
    assert not {"left hand", "right foot"} & set(model.body_model.parts.names)
    assert found.named_parts == ("left hand", "right foot")


def test_the_issues_own_calls(model: InteractVLM) -> None:
    thing = model.object_contact(IMAGE, "tennis racket", mesh=TETRAHEDRON)
    assert (len(thing.probability), thing.topology) == (4, TETRAHEDRON.topology)
    both = model.joint_contact(IMAGE, ["bench", "bottle"], meshes={"bottle": TETRAHEDRON})
    assert [type(one) for one in both] == [JointContact, JointContact]
    assert [one.object is None for one in both] == [True, False]
    assert model.image_contact(IMAGE, "bottle").probability.shape == IMAGE.shape[:2]


def test_one_mesh_where_several_are_expected_is_advice(model: InteractVLM) -> None:
    with pytest.raises(InputError, match="by object name, or as a list"):
        model.joint_contact(IMAGE, ["bottle"], meshes=TETRAHEDRON)


def test_settings_are_checked_when_they_are_made() -> None:
    for wrong in ({"human_questions": "foo"}, {"max_new_tokens": "5"}, {"person_margin": -1}, {"view_batch": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            EstimatorConfig(**wrong)


def test_a_lone_query_is_told_apart_from_a_list() -> None:
    with pytest.raises(InputError, match="brackets"):
        toy_model().ask(Query("human", np.zeros((32, 32, 3), np.uint8), "cup"))


def test_contact_on_meshes_is_asked_as_it_was_learned() -> None:
    """PICO's objects were asked about in simple words only; affordance never was."""
    joint = toy_model(object_views="4MV-Z_HM_BM", object_questions="afford_obj")
    query = Query("object", None, "cup")
    assert joint.question_of(query) == templates("object", "simple").questions[0].replace("{class_name}", "cup")
    other = toy_model(object_questions="afford")
    assert other.question_of(query) == templates("object", "afford").questions[0].replace("{class_name}", "cup")


def test_contact_is_light_until_an_estimator_is_asked_for() -> None:
    code = "import sys, hoirecon.contact; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
