"""The paper's parts against the reference's own outputs: each module alone, and MV-Loc within every whole network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hoirecon.contact.modeling.attention_splitter import AttentionSplitter
from hoirecon.contact.modeling.config import LanguageConfig, NetworkConfig
from hoirecon.contact.modeling.contact_tokens import Role
from hoirecon.contact.modeling.feat_lift import AdditiveLift, FeatLift, GatedLift, ViewIndexLift, normalize_cameras
from hoirecon.contact.modeling.fusion import LanguageFusion, MultiHeadAttention
from hoirecon.contact.modeling.mv_loc import MVLoc
from hoirecon.contact.modeling.token_projection import TokenProjection
from hoirecon.contact.modeling.uncertainty import UncertaintyHead
from hoirecon.sam_network import SamConfig
from tests.contact.parity_data import configurations, tensors, values, weights

PROJECTION = 1e-5
"""Largest difference of embeddings; logits may differ by ten times as much."""
LOGITS = 1e-4
BF16_STEP = 2.0**-8
"""Largest relative error of rounding to bfloat16, half a unit of its eight binary places."""
PREFIX = "model.visual_model."


def loaded(module: nn.Module, state: dict[str, Tensor]) -> Any:
    """The module with these weights, every name matched."""
    module.load_state_dict(state)
    return module.eval()


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Same shape and no difference above the tolerance."""
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours.detach().float(), theirs, atol=tolerance, rtol=0)


def close_gradient(ours: Tensor, theirs: Tensor) -> None:
    """1e-4 of the gradient's largest entry."""
    assert theirs.abs().max() > 0
    close(ours, theirs, 1e-4 * float(theirs.abs().max()))


# --- cameras ----------------------------------------------------------------------------------------------------------


def test_cameras_are_normalised_as_in_the_reference() -> None:
    read = tensors("components/camera_normalisation")
    close(normalize_cameras(read["raw"]), read["normalized"], 1e-7)
    close(normalize_cameras(None), read["none"], 0)


@pytest.mark.parametrize("thing", ["human", "object"])
def test_the_view_tables_cameras_are_normalised_as_in_the_reference(thing: str) -> None:
    expected = tensors("components/camera_normalisation")[f"normalized_{thing}"]
    scale, shift = torch.tensor([10.0, 360, 360, 2, 2]), torch.tensor([0.0, 0, 0, 1, 1])
    close(normalize_cameras(expected * scale - shift), expected, 1e-6)


def feat_lift(kind: str, state: dict[str, Tensor]) -> FeatLift:
    """The encoder of the sizes that the weights have."""
    if kind == "simple":
        module: FeatLift = AdditiveLift(len(state["linear1.bias"]))
    else:
        dim, hidden = state["view_transforms.0.weight"].shape
        views = sum(key.startswith("view_transforms.") and key.endswith("bias") for key in state)
        module = ViewIndexLift(dim, views) if kind == "view_index" else GatedLift(dim, views, hidden)
    made: FeatLift = loaded(module, state)
    return made


@pytest.mark.parametrize("kind", ["simple", "view_index", "vi_v1"])
def test_camera_encoders(kind: str) -> None:
    read = tensors(f"components/camera_encoder_{kind}")
    module = feat_lift(kind, weights(read))
    cameras = read["input"].clone().requires_grad_()
    if kind == "simple":
        codes, expected = module.codes(cameras), read["output"]
    else:
        expected = read["output_per_view"]
        codes = module.codes(cameras[:, None].expand(-1, len(expected), -1)).transpose(0, 1)
    close(codes, expected, PROJECTION)
    (gradient,) = torch.autograd.grad(codes.square().sum(), cameras)
    close_gradient(gradient, read["grad_input"])


# --- embeddings -------------------------------------------------------------------------------------------------------


def test_attention_splitter() -> None:
    read = tensors("components/attention_splitter")
    state = weights(read)
    hidden, dim = state["input_proj.weight"].shape
    module = loaded(AttentionSplitter(dim, hidden), state)
    x = read["input"].clone().requires_grad_()
    human, thing = module(x, "human"), module(x, "object")
    close(human, read["human"], PROJECTION)
    close(thing, read["object"], PROJECTION)
    (gradient,) = torch.autograd.grad(human.square().sum() + thing.pow(3).sum(), x)
    close_gradient(gradient, read["grad_input_of_sum_h2_plus_o3"])
    close(module(read["input_single"], "human"), read["human_single"], PROJECTION)
    close(module(read["input_single"], "object"), read["object_single"], PROJECTION)


def test_token_projection() -> None:
    read = tensors("components/text_projection")
    state = weights(read)
    module = loaded(TokenProjection(state["0.weight"].shape[1], len(state["2.bias"])), state)
    close(module(read["input"]), read["output"], PROJECTION)


# --- the optional parts -----------------------------------------------------------------------------------------------


def test_multihead_attention() -> None:
    read = tensors("components/multihead_attention")
    heads = read["weights_map"].shape[1]
    module = loaded(MultiHeadAttention(read["query"].shape[-1], heads), weights(read))
    query, keys = read["query"], read["key_value"]
    close(module.attention_map(query, keys), read["weights_map"], PROJECTION)
    close(module(query, keys, keys), read["output"], PROJECTION)


def test_fusion_in_bfloat16() -> None:
    """Four matrices and a softmax follow one another, each rounded: four half units of the largest value."""
    read = tensors("components/fusion")
    state = weights(read)
    hidden, sam_dim = state["sam_proj.weight"].shape
    module = loaded(LanguageFusion(sam_dim, state["llava_proj.weight"].shape[1], hidden), state).bfloat16()
    ours = module(read["sam"], read["llava"])
    assert ours.dtype == torch.bfloat16
    theirs = read["output_bf16"]
    close(ours, theirs, 4 * BF16_STEP * float(theirs.abs().max()))


def test_uncertainty_in_bfloat16() -> None:
    """Three layers and the softplus, each rounded: four half units of the largest value."""
    read = tensors("components/uncertainty")
    state = weights(read)
    widths = (len(state["linear1.bias"]), len(state["linear2.bias"]))
    module = loaded(UncertaintyHead(state["linear1.weight"].shape[1], widths), state).bfloat16()
    ours = module(read["input"])
    assert ours.dtype == torch.bfloat16
    theirs = read["output_bf16"]
    close(ours, theirs, 4 * BF16_STEP * float(theirs.abs().max()))


# --- MV-Loc within the whole networks ---------------------------------------------------------------------------------


def cases() -> list[tuple[str, str]]:
    """Every (configuration, case) of the set."""
    return [(name, case) for name in configurations() for case in values(f"full/{name}/meta")["cases"]]


def mv_loc(name: str) -> MVLoc:
    """MV-Loc of one network, its sizes read off its weights."""
    state = tensors(f"full/{name}/model")
    own = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    common = {key: tuple(v.shape) for key, v in own.items() if not key.startswith(("human_", "object_"))}
    sam = SamConfig.of_state(common, name)
    separate = any(key.startswith("object_mask_decoder.") for key in own)
    config = NetworkConfig(
        sam=sam, prompt_dim=sam.out_chans, separate_decoders=separate, language=LanguageConfig(hidden_size=8)
    )
    made: MVLoc = loaded(MVLoc(config), own)
    return made


def role_of(name: str, case: str) -> Role:
    """The reference goes by the name of the data set that a question comes from."""
    dataset = values(f"full/{name}/meta")["cases"][case]["ds_name"]
    if "hcontact" in dataset:
        return "human"
    return "object" if "oafford" in dataset or "ocontact" in dataset else "general"


def outputs(name: str, case: str, way: str) -> dict[str, Tensor]:
    """What the reference computed for a case, by short names."""
    start = f"{case}/{way}/"
    read = tensors(f"full/{name}/tensors")
    return {key.removeprefix(start): value for key, value in read.items() if key.startswith(start)}


@pytest.mark.parametrize(("name", "case"), cases())
def test_image_embeddings(name: str, case: str) -> None:
    found = outputs(name, case, "evaluate")
    if "image_embeddings" not in found:
        pytest.skip("the set holds no image embeddings of this case")
    pictures = tensors(f"full/{name}/tensors")[f"{case}/sam_raw_uint8"]
    close(mv_loc(name).encode(pictures), found["image_embeddings"][0], LOGITS)


@pytest.mark.parametrize(("name", "case"), cases())
@pytest.mark.parametrize("way", ["evaluate", "forward"])
def test_localisation(name: str, case: str, way: str) -> None:
    found = outputs(name, case, way)
    if "low_res.0" not in found or "view_embedding.0" not in found:
        pytest.skip("the reference decodes nothing here")
    check_localisation(mv_loc(name), name, case, found, found)


@pytest.mark.parametrize(("name", "case"), [c for c in cases() if outputs(*c, "as_loaded/evaluate")])
@pytest.mark.parametrize("way", ["evaluate", "forward"])
def test_localisation_with_the_decoders_collapsed(name: str, case: str, way: str) -> None:
    model = mv_loc(name)
    model.collapse_decoders()
    found = outputs(name, case, f"as_loaded/{way}")
    check_localisation(model, name, case, outputs(name, case, way), found)


def check_localisation(
    model: MVLoc, name: str, case: str, given: dict[str, Tensor], expected: dict[str, Tensor]
) -> None:
    """From the reference's prompts to its masks; its prompts are (S, V, D), its masks (S * V, 1, 4e, 4e)."""
    meta = values(f"full/{name}/meta")["cases"][case]
    pictures = tensors(f"full/{name}/tensors")[f"{case}/sam_raw_uint8"]
    with torch.no_grad():
        low = model.localize(given["view_embedding.0"], model.encode(pictures), role_of(name, case))
    close(low.logits.flatten(0, 1)[:, None], expected["low_res.0"], LOGITS)
    if "iou.0" in expected:
        close(low.iou.flatten()[:, None], expected["iou.0"], LOGITS)
    if "pred_masks" in expected:
        masks = model.upscale(low.logits, tuple(meta["resize"]), tuple(meta["original_size"])).flatten(0, 1)
        if "gt_mask_int8" in expected:  # teacher-forced affordance: its loss turned labelled pixels to probabilities
            masks = torch.where(expected["gt_mask_int8"] != -1, masks.sigmoid(), masks)
        close(masks, expected["pred_masks"], LOGITS)


@pytest.mark.parametrize(("name", "case"), cases())
def test_the_dense_prompt_is_that_of_no_mask(name: str, case: str) -> None:
    found = outputs(name, case, "evaluate")
    if "dense_prompt_pixel00.0" not in found:
        pytest.skip("the set holds no dense prompt of this case")
    theirs = found["dense_prompt_pixel00.0"]
    ours = mv_loc(name).no_mask()[:, :, 0, 0].expand(len(theirs), -1)
    close(ours, theirs, 0)
