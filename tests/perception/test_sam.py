"""Segment Anything's whole code path, on a tiny network of the same design with random weights made here."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hoirecon.errors import InputError
from hoirecon.observation import Keypoints
from hoirecon.perception.protocols import MaskPrompt, Scribble, Segmenter
from hoirecon.perception.sam import SamSegmenter
from hoirecon.sam_network import SamConfig, build_sam, read_checkpoint

torch = pytest.importorskip("torch")
modeling = pytest.importorskip("segment_anything.modeling")

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)


def _tiny() -> Any:
    encoder = modeling.ImageEncoderViT(
        img_size=64, patch_size=16, embed_dim=16, depth=2, num_heads=2, mlp_ratio=3, out_chans=32, qkv_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=2, global_attn_indexes=[1],
    )  # fmt: skip
    prompts = modeling.PromptEncoder(32, (4, 4), (64, 64), mask_in_chans=8)
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=24, num_heads=8)
    decoder = modeling.MaskDecoder(
        transformer_dim=32, transformer=transformer, num_multimask_outputs=3, iou_head_depth=2, iou_head_hidden_dim=12
    )
    sam = modeling.Sam(encoder, prompts, decoder, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    for parameter in sam.parameters():  # relative positions start at zero: give every tensor an effect
        torch.nn.init.normal_(parameter, std=0.2)
    return sam.eval()


@pytest.fixture(scope="module")
def tiny() -> Any:
    """A Sam of 64 pixels."""
    torch.manual_seed(0)
    return _tiny()


@pytest.fixture(scope="module")
def checkpoint(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its weights as the original files are."""
    path: Path = tmp_path_factory.mktemp("sam") / "tiny.pth"
    torch.save(tiny.state_dict(), path)
    return path


def test_the_sizes_are_read_off_the_tensors(tiny: Any, checkpoint: Path) -> None:
    built = build_sam(read_checkpoint(checkpoint)).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(built.image_encoder(image), tiny.image_encoder(image))
    assert [b.window_size for b in built.image_encoder.blocks] == [2, 0]


@pytest.mark.parametrize("model_type", ["vit_b", "vit_l", "vit_h"])
def test_the_published_sizes_are_rebuilt(model_type: str) -> None:
    """Shapes only, without memory: what the package's own builder makes is what is read off its tensors."""
    registry = pytest.importorskip("segment_anything").sam_model_registry
    with torch.device("meta"):
        published = registry[model_type]()
        state = published.state_dict()
        rebuilt = build_sam({k: torch.empty(v.shape, device="meta") for k, v in state.items()})
    assert {k: v.shape for k, v in rebuilt.state_dict().items()} == {k: v.shape for k, v in state.items()}
    for mine, theirs in zip(rebuilt.image_encoder.blocks, published.image_encoder.blocks, strict=True):
        assert mine.window_size == theirs.window_size
        assert mine.attn.num_heads == theirs.attn.num_heads


@pytest.mark.parametrize(
    ("window", "whole"),
    [(2, (1,)), (2, ()), (7, (1,)), (7, (0, 2)), (7, ()), (5, (0, 1, 2)), (0, ())],
    ids=["smaller", "smaller only", "larger", "larger once", "larger only", "all global", "no windows"],
)
def test_windows_smaller_and_larger_than_the_image(window: int, whole: tuple[int, ...]) -> None:
    """A window beyond the 4 x 4 patches has more relative positions than the whole image."""
    small: dict[str, Any] = {"embed_dim": 16, "depth": 3, "num_heads": 2, "out_chans": 16, "decoder_mlp_dim": 8}
    made = SamConfig(img_size=64, window_size=window, global_attn_indexes=whole, **small).build()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    back = build_sam(made.state_dict())
    assert [b.window_size for b in back.image_encoder.blocks] == [b.window_size for b in made.image_encoder.blocks]
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(back.image_encoder(image), made.image_encoder(image))


def test_windows_of_two_sizes_are_no_sam(tiny: Any) -> None:
    shapes = {key: tuple(value.shape) for key, value in tiny.state_dict().items()}
    for length in (5, 4):  # the other block's windows have 2 patches: 3 positions
        other = {f"image_encoder.blocks.1.attn.rel_pos_{axis}": (length, 8) for axis in "hw"}
        with pytest.raises(InputError, match=r"not a Segment Anything checkpoint.*lengths"):
            SamConfig.of_state(shapes | other)


def test_the_answer_is_the_packages_own(tiny: Any, checkpoint: Path) -> None:
    from segment_anything import SamPredictor

    predictor = SamPredictor(tiny)
    predictor.set_image(IMAGE)
    box = np.array([20, 10, 60, 40])
    want, _, _ = predictor.predict(box=box, multimask_output=False)
    got = SamSegmenter(checkpoint).segment(IMAGE, MaskPrompt(box=(20, 10, 40, 30)))
    inside = np.zeros(got.shape, dtype=bool)
    inside[10:40, 20:60] = True
    assert np.array_equal(got, want[0] & inside)
    assert isinstance(SamSegmenter(checkpoint), Segmenter)


def test_points_take_the_surest_of_three(tiny: Any, checkpoint: Path) -> None:
    from segment_anything import SamPredictor

    predictor = SamPredictor(tiny)
    predictor.set_image(IMAGE)
    masks, scores, _ = predictor.predict(np.array([[30.0, 20], [5, 5]]), np.array([1, 0]), multimask_output=True)
    got = SamSegmenter(checkpoint).segment(IMAGE, MaskPrompt(points=((30, 20),), negative_points=((5, 5),)))
    assert np.array_equal(got, masks[int(np.argmax(scores))])


def test_strokes_and_hands_become_points(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    segmenter = SamSegmenter(checkpoint)

    def predict(**given: Any) -> tuple[Any, Any, None]:
        asked.update(given)
        return np.ones((1, 48, 80), dtype=bool), np.ones(1), None

    monkeypatch.setattr(segmenter._predictor, "predict", predict)
    xy = np.full((33, 2), -200.0)
    xy[[11, 12, 14, 16, 18, 20, 22]] = [[70, 5], [50, 5], [70, 40], [50, 30], [44, 30], [42, 26], [48, 24]]
    confidence = np.where(np.isin(np.arange(33), [14, 16, 18, 20, 22]), 0.9, 0.0)
    keypoints = Keypoints("blazepose33", xy, confidence)
    stroke = Scribble(np.array([[22.0, 12], [32, 12], [32, 22]]), 2)
    segmenter.segment(IMAGE, MaskPrompt(box=(20, 10, 40, 30), scribbles=(stroke,)), keypoints=keypoints)
    positive, negative = (asked["point_coords"][asked["point_labels"] == k] for k in (1, 0))
    assert np.allclose(positive, [[22, 12], [26, 12], [30, 12], [32, 14], [32, 18], [32, 22]])
    assert len(negative) == 1
    assert 40 < negative[0][0] < 52
    assert 22 < negative[0][1] < 32
    assert asked["box"].tolist() == [20, 10, 60, 40]
    assert asked["multimask_output"] is False


class Boom:
    """Leaves a trace if it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('a pickle was executed')",)


def test_hostile_checkpoints_end_in_one_sentence(tmp_path: Path, checkpoint: Path) -> None:
    torch.save({"a": Boom()}, tmp_path / "code.pth")
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    state = read_checkpoint(checkpoint)
    torch.save({**state, "mask_decoder.mask_tokens.weight": torch.zeros(2, 2)}, tmp_path / "shapes.pth")
    torch.save({k: v for k, v in state.items() if "neck" not in k}, tmp_path / "lacks.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "cut.pth").write_bytes(checkpoint.read_bytes()[:5000])
    names = ("code.pth", "other.pth", "list.pth", "shapes.pth", "lacks.pth", "text.pth", "text.safetensors", "cut.pth")
    for name in (*names, "missing.pth"):
        with pytest.raises(InputError) as caught:
            SamSegmenter(tmp_path / name)
        assert "\n" not in str(caught.value), name


def test_model_type_is_checked(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="not a vit_b"):
        SamSegmenter(checkpoint, "vit_b")
    with pytest.raises(InputError, match="auto, vit_b"):
        SamSegmenter(checkpoint, "vit_x")


def test_safetensors_are_read_too(tiny: Any, checkpoint: Path, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({k: v.contiguous() for k, v in tiny.state_dict().items()}, tmp_path / "a.safetensors")
    prompt = MaskPrompt(box=(20, 10, 40, 30))
    want = SamSegmenter(checkpoint).segment(IMAGE, prompt)
    assert np.array_equal(SamSegmenter(tmp_path / "a.safetensors").segment(IMAGE, prompt), want)
