"""The image encoder with fused attention against segment-anything's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hoirecon.contact.modeling import sam_encoder
from hoirecon.contact.modeling.sam_encoder import (
    build_image_encoder,
    encode_images,
    join_windows,
    prepare_images,
    relative_positions,
    split_windows,
    with_fused_attention,
)
from hoirecon.errors import InputError
from hoirecon.sam_network import SamConfig

published = pytest.importorskip("segment_anything.modeling.image_encoder")

SIZES = {
    "windows that do not fit": {"img_size": 56, "window_size": 3},  # 7 x 7 places
    "windows that fit": {"img_size": 64, "window_size": 4},
    "a window larger than the grid": {"img_size": 32, "window_size": 5},
    "no positions": {"img_size": 56, "window_size": 3, "use_rel_pos": False},
    "no biases": {"img_size": 56, "window_size": 3, "qkv_bias": False},
}


def tiny(**sizes: Any) -> SamConfig:
    given: dict[str, Any] = {"img_size": 56, "window_size": 3} | sizes
    return SamConfig(patch_size=8, embed_dim=24, depth=3, num_heads=3, global_attn_indexes=(1,), out_chans=16, **given)


def shaken(encoder: nn.Module) -> nn.Module:
    """Positions start at zero, where nothing could be seen of them; so draw every parameter."""
    draw = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for p in encoder.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=draw))
    return encoder


def pair(config: SamConfig) -> tuple[nn.Module, nn.Module]:
    """The published encoder and ours with its weights."""
    eager = shaken(config.build().image_encoder)
    ours = build_image_encoder(config)
    ours.load_state_dict(eager.state_dict())
    return eager, ours


def pictures(count: int, size: int) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize("name", SIZES)
def test_equal_to_the_published_encoder(name: str) -> None:
    config = tiny(**SIZES[name])
    eager, ours = pair(config)
    x = pictures(2, config.img_size)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), eager(x), atol=1e-5, rtol=0)


def test_equal_gradients() -> None:
    config = tiny()
    eager, ours = pair(config)
    x = pictures(1, config.img_size)
    names, theirs = zip(*eager.named_parameters(), strict=True)
    expected = torch.autograd.grad(eager(x).square().sum(), theirs)
    found = torch.autograd.grad(ours(x).square().sum(), [dict(ours.named_parameters())[n] for n in names])
    for name, a, b in zip(names, found, expected, strict=True):
        scale = float(b.abs().max())
        torch.testing.assert_close(a, b, atol=1e-4 * scale + 1e-5, rtol=0, msg=f"the gradient of {name} differs")


@pytest.mark.parametrize("limit", [1, 60, 400])
def test_rows_at_a_time_change_nothing(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny()
    _, ours = pair(config)
    x = pictures(2, config.img_size)
    with torch.no_grad():
        whole = ours(x)
        monkeypatch.setattr(sam_encoder, "MAX_BIAS", limit * 7 * 49)
        torch.testing.assert_close(ours(x), whole, atol=1e-5, rtol=0)


def test_the_bias_in_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of three rows for two images of three heads is kept by every bias that is made."""
    config = tiny()
    _, ours = pair(config)
    limit = 2 * 3 * 3 * 7 * 49
    made: list[int] = []
    original = sam_encoder.position_bias

    def watched(queries: Tensor, rows_of: Tensor, cols_of: Tensor) -> Tensor:
        bias = original(queries, rows_of, cols_of)
        made.append(bias.numel())
        return bias

    monkeypatch.setattr(sam_encoder, "MAX_BIAS", limit)
    monkeypatch.setattr(sam_encoder, "position_bias", watched)
    with torch.no_grad():
        ours(pictures(2, config.img_size))
    assert max(made) == limit


def test_names_and_shapes_are_the_published_ones_at_full_size() -> None:
    with torch.device("meta"):
        eager, ours = SamConfig().build().image_encoder, build_image_encoder(SamConfig())
    shapes = {key: tuple(value.shape) for key, value in ours.state_dict().items()}
    assert shapes == {key: tuple(value.shape) for key, value in eager.state_dict().items()}


def test_operations_at_full_size_on_the_meta_device() -> None:
    """Not one more than the published code; 5 % fewer as windows' rims are not projected."""
    with torch.device("meta"):
        eager, ours = SamConfig().build().image_encoder.bfloat16(), build_image_encoder(SamConfig()).bfloat16()
        x = torch.empty(1, 3, 1024, 1024, dtype=torch.bfloat16)
    counts = []
    for encoder in (eager, ours):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            assert encoder(x).shape == (1, 256, 64, 64)
        counts.append(counter.get_total_flops())
    assert 0.94 < counts[1] / counts[0] < 0.96


def test_weights_are_shared_not_copied() -> None:
    eager = tiny().build().image_encoder
    before = {key: value.data_ptr() for key, value in eager.state_dict().items()}
    after = {key: value.data_ptr() for key, value in with_fused_attention(eager).state_dict().items()}
    assert before == after


def test_bfloat16_agrees_with_float32_within_rounding() -> None:
    config = tiny()
    eager, ours = pair(config)
    x = pictures(2, config.img_size)
    with torch.no_grad():
        exact = eager(x)
        half = ours.bfloat16()(x.bfloat16())
        published_half = eager.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    ours_off, theirs_off = (half - exact).abs().mean(), (published_half - exact).abs().mean()
    assert ours_off < 1.2 * theirs_off < 0.1


@pytest.mark.parametrize(("height", "width", "side"), [(7, 5, 3), (6, 6, 3), (2, 9, 4)])
def test_windows_are_cut_as_published_and_put_together_again(height: int, width: int, side: int) -> None:
    x = torch.randn(2, height, width, 4)
    theirs, _ = published.window_partition(x, side)
    ours = split_windows(x, side, None)
    assert torch.equal(ours, theirs)
    assert torch.equal(join_windows(ours, height, width), x)


@pytest.mark.parametrize(("size", "length"), [(4, 7), (5, 7), (6, 3)])
def test_relative_positions_are_the_published_ones_also_for_another_grid(size: int, length: int) -> None:
    table = torch.randn(length, 2)
    torch.testing.assert_close(relative_positions(table, size), published.get_rel_pos(size, size, table))


def test_chunks_batches_and_single_images_agree() -> None:
    config = tiny()
    _, ours = pair(config)
    images = torch.randint(0, 256, (5, 3, 40, 56), dtype=torch.uint8)
    whole = encode_images(ours, images, 56, chunk=8)
    assert whole.shape == (5, 16, 7, 7)
    assert not whole.requires_grad
    torch.testing.assert_close(encode_images(ours, images, 56, chunk=2), whole, atol=1e-5, rtol=0)
    single = torch.cat([encode_images(ours, image[None], 56) for image in images])
    torch.testing.assert_close(single, whole, atol=1e-5, rtol=0)


def test_images_are_prepared_as_published() -> None:
    sam = tiny().build()
    image = torch.randint(0, 256, (3, 30, 56), dtype=torch.uint8)
    ours = prepare_images(image[None], 56, torch.float32)[0]
    assert torch.equal(ours, sam.preprocess(image.float()))
    assert (ours[:, 30:] == 0).all()
    assert prepare_images(image[None], 56, torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(1, 3, 57, 10), (1, 1, 8, 8), (3, 8, 8), (1, 3, 0, 8)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="sides of 1 to 56"):
        prepare_images(torch.zeros(shape), 56, torch.float32)


def test_nothing_to_encode_is_refused() -> None:
    encoder = build_image_encoder(tiny())
    with pytest.raises(InputError, match="at least one image"):
        encode_images(encoder, torch.zeros(0, 3, 8, 8), 56)
    with pytest.raises(InputError, match="chunk of at least 1"):
        encode_images(encoder, torch.zeros(1, 3, 8, 8), 56, chunk=0)
