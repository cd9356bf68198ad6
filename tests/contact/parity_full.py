"""Whole networks against the reference's outputs: every configuration and case of ``full/``, in both of its modes.

``evaluate`` is greedy generation, ``forward`` the teacher-forced pass. What the reference computes by running the whole
text again for every token comes here from one cached pass, so these tests also hold the cache against no cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from hoirecon.contact.checkpoints.released import SeparateDecoders, load_network
from hoirecon.contact.inference.generation import Answer, answer, prefill, teach
from hoirecon.contact.lifting import lift_human, lift_object_mesh, lift_object_points
from hoirecon.contact.modeling.contact_tokens import Role
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.modeling.vlm import IMAGE_TOKEN, VLM
from hoirecon.contact.rendering.types import PixelMaps
from tests.contact.parity_data import configurations, parity_root, tensors, values
from tests.contact.parity_lifting import pixel_maps, point_maps

PROJECTION = 1e-5
"""Largest difference of CLIP's features, of states and of projections."""
LOGITS = 1e-4
"""Largest difference of logits, of what is lifted from them, and of SAM's deep features, which are as large."""
OBJECT_THRESHOLD = 0.3
"""Probability above which a pixel speaks for an object's vertex."""


@dataclass(frozen=True)
class Case:
    """One case of one configuration: what goes in, and what the reference made of it."""

    config: str
    name: str

    def __str__(self) -> str:
        return f"{self.config}-{self.name}"

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = values(f"full/{self.config}/meta")["cases"][self.name]
        return found

    def has(self, key: str) -> bool:
        return f"{self.name}/{key}" in tensors(f"full/{self.config}/tensors")

    def __getitem__(self, key: str) -> Tensor:
        return tensors(f"full/{self.config}/tensors")[f"{self.name}/{key}"]

    @property
    def prompt(self) -> list[int]:
        return list(self["input_ids"][0].tolist())

    @property
    def given(self) -> list[int]:
        """The answer that the reference's weights were arranged to give."""
        return list(self["answer_ids"][0].tolist())

    @property
    def dataset(self) -> str:
        return str(self.facts["ds_name"])

    @property
    def role(self) -> Role:
        """The reference chooses decoder and lifting by the name of the data set."""
        if "hcontact" in self.dataset:
            return "human"
        return "object" if "ocontact" in self.dataset or "oafford" in self.dataset else "general"

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        (a, b), (c, d) = self.facts["resize"], self.facts["original_size"]
        return (a, b), (c, d)


@dataclass(frozen=True)
class Run:
    """What our network makes of a case."""

    answer: Answer
    embedding: Tensor
    """(S, V, D) before FeatLift."""
    prompts: Tensor
    """(S, V, D)."""
    low: Tensor
    """(S, V, 4e, 4e)."""
    iou: Tensor
    """(S, V)."""
    masks: Tensor
    """(S, V, h, w)."""


CASES = [Case(config, name) for config in configurations() for name in values(f"full/{config}/meta")["cases"]]
DECODED = [case for case in CASES if case.has("sam_raw_uint8")]
EVALUATED = [case for case in DECODED if case.has("evaluate/low_res.0")]
FORWARDED = [case for case in DECODED if case.has("forward/low_res.0")]
AS_LOADED = [case for case in DECODED if case.has("as_loaded/evaluate/low_res.0")]

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_evaluated = pytest.mark.parametrize("case", EVALUATED, ids=str)
each_forwarded = pytest.mark.parametrize("case", FORWARDED, ids=str)
each_as_loaded = pytest.mark.parametrize("case", AS_LOADED, ids=str)


@cache
def network_of(config: str, decoders: SeparateDecoders = "keep") -> InteractVLMNetwork:
    full = parity_root() / "full"
    return load_network(
        full / config, vision_tower=full / "clip-tiny", dtype=torch.float32, separate_decoders=decoders
    ).requires_grad_(False)


def split(prompt: list[int]) -> tuple[list[int], list[int]]:
    """The shared part up to the marker after the image, and the question."""
    end = prompt.index(IMAGE_TOKEN) + 2
    return prompt[:end], prompt[end:]


def answered(case: Case, network: InteractVLMNetwork, forced: bool) -> Answer:
    """The answer from one cached pass: greedy, or the given one."""
    shared, question = split(case.prompt)
    vlm, ids = network.vlm, network.config.tokens.ids
    prefix = prefill(vlm, shared, vlm.image_tokens(case["images_clip"])[0])
    if forced:
        return teach(vlm, prefix, [question], [case.given], contact_ids=ids)[0]
    return answer(vlm, prefix, [question], contact_ids=ids)[0]


@cache
def run(case: Case, forced: bool = False, decoders: SeparateDecoders = "keep") -> Run:
    network = network_of(case.config, decoders)
    said = answered(case, network, forced)
    prompts = network.contact_prompts(said.states, said.contact_ids, case["cam_params"][0])
    features = network.mv_loc.encode(case["sam_raw_uint8"])
    low = network.mv_loc.localize(prompts, features, case.role)
    masks = network.mv_loc.upscale(low.logits, *case.sizes)
    return Run(said, network.project(said.states), prompts, low.logits, low.iou, masks)


def whole_text(case: Case, network: InteractVLMNetwork, text: list[int]) -> Tensor:
    """(L, H) states of a text in one pass without a cache."""
    image = network.vlm.image_tokens(case["images_clip"])[0]
    return network.vlm.hidden(network.vlm.embed(text, image)[None])[0]


def uncached(vlm: VLM, prompt: list[int], image: Tensor, contact_ids: tuple[int, ...]) -> tuple[list[int], Tensor]:
    """The reference's procedure: the whole text again for every token; states one place before contact tokens."""
    ids: list[int] = []
    while not ids or (ids[-1] != vlm.config.language.eos_token_id and len(ids) < 512):
        states = vlm.hidden(vlm.embed([*prompt, *ids], image)[None])[0]
        ids.append(int(vlm.logits(states[-1]).argmax()))
    places = [len(prompt) + len(image) - 1 + i - 1 for i, token in enumerate(ids) if token in contact_ids]
    return ids, states[places]


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Same shape and no difference above the tolerance."""
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def check_decoded(ours: Run, case: Case, mode: str, embeddings: bool = True) -> None:
    """Embeddings, and what the decoder says; the reference lists prompts and views along one axis."""
    if embeddings:
        close(ours.embedding, case[f"{mode}/seg_embedding.0"], PROJECTION)
        close(ours.prompts, case[f"{mode}/view_embedding.0"], PROJECTION)
    close(ours.low.flatten(0, 1)[:, None], case[f"{mode}/low_res.0"], LOGITS)
    if case.has(f"{mode}/iou.0"):
        close(ours.iou.flatten(0, 1)[:, None], case[f"{mode}/iou.0"], LOGITS)
    if len(ours.low) and ours.low.shape[1] > 1:
        assert ours.low.std(dim=1).max() > 100 * LOGITS, "the views' masks are the same: this compares nothing"


def doubtful(masks: Tensor, maps: PixelMaps, named: str) -> list[int]:
    """Vertices touched by a pixel that lies within rounding of the hard threshold."""
    ids = torch.as_tensor(maps.verts)
    near = ((masks.sigmoid() - OBJECT_THRESHOLD).abs() < LOGITS) & (ids >= 0).all(dim=-1)
    listed = values("maps/threshold_margins").get(named, {}).get("vertices", [])
    return sorted({*listed, *ids[near].flatten().tolist()})


def check_object(masks: Tensor, case: Case, key: str) -> None:
    """Lifting to the object's mesh (V, H, W), but for vertices where rounding decides."""
    maps = pixel_maps("object_views")
    ours, theirs = lift_object_mesh(masks[None], maps), case[key]
    skipped = doubtful(masks, maps, f"full/{case.config}/{case.name}/{key.rpartition('/')[0]}")
    keep = [i for i in range(ours.shape[1]) if i not in skipped]
    assert len(keep) > 0.8 * ours.shape[1]
    assert theirs.max() > 0
    close(ours[:, keep], theirs[:, keep], LOGITS)


def check_contact(masks: Tensor, case: Case, key: str) -> None:
    """Contact in 3D of ``evaluate``: a body by the human form, all else by the mesh form."""
    if case.role == "human":
        close(lift_human(masks[None], pixel_maps("human_views")), case[key], LOGITS)
    else:
        check_object(masks, case, key)


def test_a_set_has_every_kind_of_case() -> None:
    """What is parametrised below is not empty by a slip."""
    parity_root()  # skips, or fails if a set was named
    assert len(EVALUATED) >= 3
    assert len(FORWARDED) >= 3
    assert {case.role for case in EVALUATED} == {"general", "human", "object"}


# --- words ------------------------------------------------------------------------------------------------------------


@each_case
def test_greedy_answers_are_the_references(case: Case) -> None:
    got = answered(case, network_of(case.config), forced=False)
    assert list(got.ids) == case.given
    assert got.finished == (case.given[-1] == network_of(case.config).config.language.eos_token_id)
    contact = network_of(case.config).config.tokens.ids
    assert list(got.contact_ids) == [token for token in case.given if token in contact]
    if case.has("evaluate/output_ids"):
        assert [*case.prompt, *got.ids] == case["evaluate/output_ids"][0].tolist()


@each_case
def test_with_cache_and_without_give_the_same(case: Case) -> None:
    network = network_of(case.config)
    image = network.vlm.image_tokens(case["images_clip"])[0]
    ids, states = uncached(network.vlm, case.prompt, image, network.config.tokens.ids)
    cached = answered(case, network, forced=False)
    assert list(cached.ids) == ids
    close(cached.states, states, PROJECTION)
    close(answered(case, network, forced=True).states, states, PROJECTION)


@each_evaluated
def test_image_features_and_their_projection(case: Case) -> None:
    vlm = network_of(case.config).vlm
    close(vlm.image_features(case["images_clip"]), case["evaluate/clip_features"], PROJECTION)
    close(vlm.image_tokens(case["images_clip"]), case["evaluate/projector_out"], PROJECTION)


@each_evaluated
def test_states_of_the_last_step(case: Case) -> None:
    network = network_of(case.config)
    hidden = whole_text(case, network, [*case.prompt, *case.given[:-1]])
    close(hidden[None], case["evaluate/last_hidden"], LOGITS)
    close(network.vlm.logits(hidden)[None], case["evaluate/logits"], LOGITS)
    close(network.token_projection(hidden)[None], case["evaluate/text_fc_out"], PROJECTION)


@each_forwarded
def test_states_of_the_teacher_forced_pass(case: Case) -> None:
    network = network_of(case.config)
    hidden = whole_text(case, network, [*case.prompt, *case.given])
    close(hidden[None], case["forward/last_hidden"], LOGITS)
    close(network.vlm.logits(hidden)[None], case["forward/logits"], LOGITS)


# --- masks ------------------------------------------------------------------------------------------------------------


@each_evaluated
def test_generated_tokens_are_localised_as_in_the_reference(case: Case) -> None:
    ours = run(case)
    check_decoded(ours, case, "evaluate")
    if case.has("evaluate/image_embeddings"):
        features = network_of(case.config).mv_loc.encode(case["sam_raw_uint8"])
        close(features[None], case["evaluate/image_embeddings"], LOGITS)
    if len(ours.low):
        assert int(case["evaluate/token.0"]) == ours.answer.contact_ids[0]
        close(ours.masks.flatten(0, 1), case["evaluate/pred_masks"], LOGITS)
    if case.has("evaluate/pred_contact_3d"):
        check_contact(ours.masks[0], case, "evaluate/pred_contact_3d")


@each_forwarded
def test_given_tokens_are_localised_as_in_the_reference(case: Case) -> None:
    ours = run(case, forced=True)
    check_decoded(ours, case, "forward")
    check_forward_lifting(ours, case, "forward")


def check_forward_lifting(ours: Run, case: Case, mode: str) -> None:
    """The reference turns affordance into probabilities where there is a target, for heat-map views, and only here."""
    masks = ours.masks.flatten(0, 1)
    heat_map = "HM" in network_of(case.config).config.object_views
    if "oafford" in case.dataset and heat_map:
        masks = torch.where(case["forward/gt_mask_int8"] != -1, masks.sigmoid(), masks)
    if mode == "forward":  # the set stores these masks only where they are not those of generation
        close(masks, case["forward/pred_masks" if case.has("forward/pred_masks") else "evaluate/pred_masks"], LOGITS)
    if case.has(f"{mode}/pred_human_3d_contact"):
        human = lift_human(masks[None], pixel_maps("human_views")) if case.role == "human" else None
        check_or_zero(human, case[f"{mode}/pred_human_3d_contact"])
    if case.has(f"{mode}/pred_object_3d_afford"):
        afford = lift_object_points(masks[None], point_maps()) if "oafford" in case.dataset else None
        check_or_zero(afford, case[f"{mode}/pred_object_3d_afford"])
    if case.has(f"{mode}/pred_object_3d_contact") and "ocontact" in case.dataset:
        check_object(masks, case, f"{mode}/pred_object_3d_contact")


def check_or_zero(ours: Tensor | None, theirs: Tensor) -> None:
    """The reference fills what a case does not speak of with zeros; we do not compute it."""
    if ours is None:
        assert not theirs.any()
    else:
        assert theirs.abs().max() > 0
        close(ours, theirs, LOGITS)


@each_as_loaded
def test_collapsed_decoders_give_what_the_reference_gives_after_loading(case: Case) -> None:
    ours = run(case, decoders="collapse")
    assert [*case.prompt, *ours.answer.ids] == case["as_loaded/evaluate/output_ids"][0].tolist()
    check_decoded(ours, case, "as_loaded/evaluate", embeddings=False)
    if case.has("as_loaded/evaluate/pred_contact_3d"):
        check_contact(ours.masks[0], case, "as_loaded/evaluate/pred_contact_3d")
    forced = run(case, forced=True, decoders="collapse")
    check_decoded(forced, case, "as_loaded/forward", embeddings=False)
    check_forward_lifting(forced, case, "as_loaded/forward")


# --- no contact token, and several ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in DECODED if "forward_raises" in c.facts], ids=str)
def test_no_contact_token_gives_no_masks_where_the_reference_raises(case: Case) -> None:
    for forced in (False, True):
        ours = run(case, forced=forced)
        assert ours.answer.contact_ids == ()
        assert ours.prompts.shape == case["evaluate/view_embedding.0"].shape
        assert ours.masks.shape == (0, len(case["sam_raw_uint8"]), *case.sizes[1])


@pytest.mark.parametrize("case", [c for c in CASES if "evaluate_raises" in c.facts], ids=str)
def test_several_contact_tokens_are_localised_one_by_one_where_the_reference_raises(case: Case) -> None:
    network = network_of(case.config)
    said = answered(case, network, forced=False)
    assert len(said.contact_ids) > 1
    views = len(case["cam_params"][0])
    pictures = next(c["sam_raw_uint8"] for c in DECODED if c.config == case.config and c.role == case.role)
    assert len(pictures) == views  # the set has none for a case that raised
    features = network.mv_loc.encode(pictures)
    prompts = network.contact_prompts(said.states, said.contact_ids, case["cam_params"][0])
    together = network.mv_loc.localize(prompts, features, case.role)
    assert together.logits.shape[:2] == (len(said.contact_ids), views)
    for i, token in enumerate(said.contact_ids):
        alone = network.contact_prompts(said.states[i : i + 1], [token], case["cam_params"][0])
        found = network.mv_loc.localize(alone, features, case.role)
        close(together.logits[i], found.logits[0], LOGITS)
    assert (together.logits[0] - together.logits[1]).abs().max() > 100 * LOGITS


# --- several questions at once ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", configurations())
def test_all_cases_of_a_configuration_in_one_batch_give_what_each_gives_alone(config: str) -> None:
    """Every case has its own photograph and length of question."""
    network = network_of(config)
    cases = [case for case in CASES if case.config == config]
    images = network.vlm.image_tokens(torch.cat([case["images_clip"] for case in cases]))
    shared = [split(case.prompt)[0] for case in cases]
    prefixes = [prefill(network.vlm, ids, image) for ids, image in zip(shared, images, strict=True)]
    questions = [split(case.prompt)[1] for case in cases]
    together = answer(network.vlm, prefixes, questions, contact_ids=network.config.tokens.ids)
    for case, got in zip(cases, together, strict=True):
        assert list(got.ids) == case.given
        close(got.states, answered(case, network, forced=False).states, PROJECTION)
