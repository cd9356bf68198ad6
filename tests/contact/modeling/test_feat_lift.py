"""FeatLift in its three forms: closed forms, gradients, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hoirecon.contact.modeling.config import CameraEncoder, NetworkConfig
from hoirecon.contact.modeling.feat_lift import (
    AdditiveLift,
    FeatLift,
    GatedLift,
    ViewIndexLift,
    build_feat_lift,
    normalize_cameras,
)
from hoirecon.errors import InputError
from hoirecon.sam_network import SamConfig

DIM, VIEWS, HIDDEN = 6, 3, 4
KINDS: tuple[CameraEncoder, ...] = ("simple", "view_index", "vi_v1")


def config(kind: CameraEncoder) -> NetworkConfig:
    return NetworkConfig(
        prompt_dim=DIM, num_views=VIEWS, camera_encoder=kind, camera_hidden=HIDDEN, sam=SamConfig(out_chans=DIM)
    )


def lift(kind: CameraEncoder) -> FeatLift:
    torch.manual_seed(3)
    module = build_feat_lift(config(kind))
    assert module is not None
    return module.double()


def inputs(tokens: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    embedding = torch.randn(tokens, VIEWS, DIM, generator=draw, dtype=torch.float64)
    return embedding, torch.rand(VIEWS, 5, generator=draw, dtype=torch.float64)


def test_each_name_builds_its_form_and_none_builds_nothing() -> None:
    forms = [type(lift(kind)) for kind in KINDS]
    assert forms == [AdditiveLift, ViewIndexLift, GatedLift]
    assert build_feat_lift(config("none")) is None


def test_parameters_have_the_checkpoints_names_and_shapes_at_full_size() -> None:
    with torch.device("meta"):
        gated = build_feat_lift(NetworkConfig())
        index = build_feat_lift(replace(NetworkConfig(), camera_encoder="view_index"))
        simple = build_feat_lift(replace(NetworkConfig(), camera_encoder="simple"))
    assert gated is not None
    assert index is not None
    assert simple is not None
    shapes = {key: tuple(value.shape) for key, value in gated.state_dict().items()}
    layers = {"spatial_encoder.0": (128, 5), "spatial_encoder.2": (128, 128)}
    layers |= {f"view_transforms.{v}": (256, 128) for v in range(4)}
    expected = {f"{name}.weight": shape for name, shape in layers.items()}
    assert shapes == expected | {f"{name}.bias": shape[:1] for name, shape in layers.items()}
    assert index.state_dict()["spatial_encoder.2.weight"].shape == (256, 256)
    assert index.state_dict()["view_transforms.3.weight"].shape == (256, 256)
    assert simple.state_dict()["linear1.weight"].shape == (256, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_conditioning_is_what_a_loop_over_tokens_and_views_says(kind: CameraEncoder) -> None:
    module, (embedding, cameras) = lift(kind), inputs()
    out = module(embedding, cameras)
    for s in range(len(embedding)):
        for v in range(VIEWS):
            torch.testing.assert_close(out[s, v], one_view(module, embedding[s, v], cameras[v], v))


def one_view(module: FeatLift, embedding: torch.Tensor, camera: torch.Tensor, view: int) -> torch.Tensor:
    """The definition, matrix by matrix."""
    w = dict(module.named_parameters())

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    if isinstance(module, AdditiveLift):
        return embedding + linear("linear1", camera).clamp_min(0)
    hidden = linear("spatial_encoder.2", linear("spatial_encoder.0", camera).clamp_min(0))
    if isinstance(module, GatedLift):
        gate = linear(f"view_transforms.{view}", hidden.clamp_min(0))
        return embedding / (1 + (-gate).exp())
    return embedding * linear(f"view_transforms.{view}", 1 / (1 + (-hidden).exp()))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_inputs_and_weights(kind: CameraEncoder) -> None:
    module, (embedding, cameras) = lift(kind), inputs()
    names, weights = zip(*module.named_parameters(), strict=True)

    def run(x: torch.Tensor, c: torch.Tensor, *w: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.func.functional_call(module, dict(zip(names, w, strict=True)), (x, c))
        return out

    assert torch.autograd.gradcheck(run, (embedding.requires_grad_(), cameras.requires_grad_(), *weights))


def test_the_gate_can_only_shrink_and_never_turn_round() -> None:
    embedding, cameras = inputs()
    out = lift("vi_v1")(embedding, cameras * 100)
    assert (out.abs() <= embedding.abs()).all()
    assert (out * embedding >= 0).all()


def test_views_with_the_same_camera_are_told_apart_by_the_gate_but_not_by_the_sum() -> None:
    embedding, cameras = inputs(1)
    same, alike = embedding[:, :1].expand(-1, VIEWS, -1), cameras[:1].expand(VIEWS, -1)
    assert (lift("vi_v1")(same, alike)[0, 0] - lift("vi_v1")(same, alike)[0, 1]).abs().max() > 1e-3
    summed = lift("simple")(same, alike)[0]
    torch.testing.assert_close(summed[0], summed[1], atol=0, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_camera_is_a_camera_of_zeros(kind: CameraEncoder) -> None:
    embedding, cameras = inputs()
    assert torch.equal(lift(kind)(embedding, None), lift(kind)(embedding, torch.zeros_like(cameras)))


@pytest.mark.parametrize("kind", KINDS)
def test_dtype_is_that_of_the_embedding(kind: CameraEncoder) -> None:
    embedding, cameras = inputs()
    assert lift(kind).bfloat16()(embedding.bfloat16(), cameras.float()).dtype == torch.bfloat16


def test_cameras_are_scaled_into_the_unit_interval() -> None:
    low, high = torch.tensor([0.0, 0, 0, -1, -1]), torch.tensor([10.0, 360, 360, 1, 1])
    assert torch.equal(normalize_cameras(torch.stack([low, high])), torch.tensor([[0.0] * 5, [1.0] * 5]))
    assert not torch.equal(normalize_cameras(torch.zeros(5)), normalize_cameras(None))


def test_wrong_shapes_are_refused() -> None:
    module, (embedding, cameras) = lift("vi_v1"), inputs()
    with pytest.raises(InputError, match="3 views need cameras"):
        module(embedding, cameras[:2])
    with pytest.raises(InputError, match="knows 3 views, got 2"):
        module(embedding[:, :2], cameras[:2])
    with pytest.raises(InputError, match="5 numbers"):
        normalize_cameras(torch.zeros(2, 4))
