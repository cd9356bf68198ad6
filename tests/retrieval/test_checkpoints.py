"""Published files in their three wrappings, our own folders, and files made by an enemy."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hoirecon.errors import InputError
from hoirecon.retrieval.checkpoints import tensor_files
from hoirecon.retrieval.checkpoints.folders import convert_openshape, load_point_encoder, save_point_encoder
from hoirecon.retrieval.checkpoints.specs import OPENSHAPE, PointEncoderSpec, recognise
from hoirecon.retrieval.checkpoints.tensor_files import read_encoder_tensors
from hoirecon.retrieval.hashing import file_hash
from hoirecon.retrieval.modeling.config import PointBertConfig
from hoirecon.retrieval.modeling.point_bert import build_point_encoder

TINY = PointEncoderSpec(
    "tiny",
    PointBertConfig(dim=16, depth=1, heads=2, head_dim=8, mlp_dim=16, patch_dim=8, num_patches=4, embed_dim=12),
)
BARE = PointEncoderSpec("bare", PointBertConfig(**{**TINY.config.__dict__, "embed_dim": None}), "y")


@pytest.fixture(autouse=True)
def _tiny_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading is tested at sizes that take no time; the released ones' tensors are held to the manifest elsewhere."""
    monkeypatch.setitem(OPENSHAPE, "tiny", TINY)
    monkeypatch.setitem(OPENSHAPE, "bare", BARE)


def state_of(spec: PointEncoderSpec) -> dict[str, Tensor]:
    """Random weights."""
    torch.manual_seed(0)
    return build_point_encoder(spec.config).state_dict()


def like_g14(state: dict[str, Tensor]) -> dict[str, Any]:
    """A trainer's file: prefixed by data parallelism, with an optimiser's state and numpy numbers beside it."""
    moments = {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(3)}}
    return {
        "state_dict": {f"module.{key}": value for key, value in state.items()},
        "logit_scale": {"module.logit_scale": torch.tensor(14.28)},
        "text_proj": None,
        "image_proj": None,
        "optimizer": {"state": moments, "param_groups": [{"lr": 5e-4, "params": [0], "betas": (0.9, 0.999)}]},
        "scheduler": {"last_epoch": 4},
        "epoch": 7,
        "step": 12,
        "best_img_contras_acc": np.float64(0.5),
        "best_lvis_acc": np.float32(46.8),
    }


def like_l14(state: dict[str, Tensor]) -> dict[str, Any]:
    return {f"pc_encoder.{key}": value for key, value in state.items()} | {"logit_scale": torch.tensor(14.28)}


WRAPPINGS: dict[str, tuple[Callable[[dict[str, Tensor]], dict[str, Any]], PointEncoderSpec]] = {
    "vitg14": (like_g14, TINY),
    "vitl14": (like_l14, TINY),
    "vitb32": (like_l14, BARE),
    "flat": (dict, TINY),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_gives_the_network(tmp_path: Path, wrapping: str) -> None:
    wrap, spec = WRAPPINGS[wrapping]
    state = state_of(spec)
    torch.save(wrap(state), tmp_path / "model.pt")
    for path in (tmp_path, tmp_path / "model.pt"):
        loaded = load_point_encoder(path)
        assert loaded.spec is spec
        assert loaded.weights_sha256 == file_hash(tmp_path / "model.pt")
        assert not loaded.network.training
        assert not loaded.is_released
        for key, value in loaded.network.state_dict().items():
            assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("zipped", [True, False])
def test_new_and_old_files_of_torch(tmp_path: Path, zipped: bool) -> None:
    torch.save(like_g14(state_of(TINY)), tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    assert load_point_encoder(tmp_path).spec is TINY


@pytest.mark.parametrize("name", [n for n in OPENSHAPE if n not in {"tiny", "bare"}])
def test_released_sizes_are_recognised(name: str) -> None:
    spec = OPENSHAPE[name]
    assert recognise(spec.shapes(), "", name, "it") is spec
    if spec.sha256:
        assert recognise(spec.shapes(), spec.sha256, "renamed", "it") is spec
    assert len(spec.shapes()) == (158 if spec.config.embed_dim is None else 160)


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state_of(TINY).items()}
    torch.save(halves, tmp_path / "model.pt")
    loaded = load_point_encoder(tmp_path)
    assert {v.dtype for v in loaded.network.parameters()} == {torch.float32}
    counts = loaded.network.state_dict()["ppat.sa.mlp_bns.0.num_batches_tracked"]
    assert counts.dtype == torch.int64


def test_conversion_keeps_weights_and_identity(tmp_path: Path) -> None:
    torch.save(like_g14(state_of(TINY)), tmp_path / "model.pt")
    folder = convert_openshape(tmp_path, tmp_path / "converted")
    first, second = load_point_encoder(tmp_path), load_point_encoder(folder)
    assert second.spec == first.spec
    assert second.weights_sha256 == first.weights_sha256
    for key, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[key])
    assert sorted(p.name for p in folder.iterdir()) == ["point_encoder.json", "point_encoder.safetensors"]


def test_an_encoder_of_ones_own_sizes(tmp_path: Path) -> None:
    spec = PointEncoderSpec("mine", PointBertConfig(**{**TINY.config.__dict__, "radius": 0.31, "patch_points": 9}), "y")
    network = build_point_encoder(spec.config)
    loaded = load_point_encoder(save_point_encoder(network, spec, tmp_path / "mine"))
    assert loaded.spec == spec
    assert loaded.weights_sha256 == file_hash(tmp_path / "mine" / "point_encoder.safetensors")
    with pytest.raises(InputError, match="the network is not a bare: the tensor 'cls_token' is missing"):
        save_point_encoder(network, BARE, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_changed_folder_is_refused(tmp_path: Path) -> None:
    folder = save_point_encoder(build_point_encoder(TINY.config), TINY, tmp_path / "mine")
    file = folder / "point_encoder.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(InputError, match="another sha256"):
        load_point_encoder(folder)
    (folder / "point_encoder.json").write_text(json.dumps({"format": "hoirecon-point-encoder-1", "name": "x"}))
    with pytest.raises(InputError, match=r"does not describe an encoder|another sha256"):
        load_point_encoder(folder)
    (folder / "point_encoder.json").write_text("[]")
    with pytest.raises(InputError, match="not a manifest"):
        load_point_encoder(folder)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    state = state_of(TINY)
    missing = {k: v for k, v in state.items() if k != "ppat.lift.0.bias"}
    wrong = state | {"proj.bias": torch.zeros(13)}
    extra = state | {"ppat.extra": torch.zeros(1)}
    for table, said in (
        (missing, "'ppat.lift.0.bias' is missing"),
        (wrong, r"'proj.bias' has shape \(13,\), expected \(12,\)"),
        (extra, "'ppat.extra' is not known"),
    ):
        torch.save(table, file)
        with pytest.raises(InputError, match=said):
            load_point_encoder(file)
        with pytest.raises(InputError, match=said):
            load_point_encoder(file, name="tiny")
    with pytest.raises(InputError, match="there is no released encoder 'huge': choose one of"):
        load_point_encoder(file, name="huge")


def test_projections_on_clips_side_are_refused(tmp_path: Path) -> None:
    table = like_g14(state_of(TINY)) | {"image_proj": {"module.weight": torch.zeros(2)}}
    torch.save(table, tmp_path / "model.pt")
    with pytest.raises(InputError, match="'image_proj'"):
        load_point_encoder(tmp_path)


class Bomb:
    """Runs a function of the attacker's choice where pickle is trusted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("where", ["top", "state", "optimizer"])
@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_file_is_not_executed(tmp_path: Path, where: str, how: str) -> None:
    bomb: Any = Bomb(tmp_path / "exploded")
    table: Any = like_g14(state_of(TINY))
    if where == "top":
        table = bomb
    elif where == "state":
        table["state_dict"]["module.proj.bias"] = bomb
    else:
        table["optimizer"] = bomb
    if how == "torch":
        torch.save(table, tmp_path / "model.pt")
    else:
        (tmp_path / "model.pt").write_bytes(pickle.dumps(bomb))
    with pytest.raises(InputError, match=r"none of it was executed|damaged"):
        load_point_encoder(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save(state_of(TINY), file)
    whole = file.read_bytes()
    for cut in (0, 1, 10, len(whole) // 2, len(whole) - 5):
        file.write_bytes(whole[:cut])
        with pytest.raises(InputError):
            load_point_encoder(file)
    safe = tmp_path / "model.safetensors"
    safe.write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="damaged"):
        load_point_encoder(safe)


def test_nan_sparse_and_non_tensors_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    for value, said in (
        (torch.full((12,), torch.nan), "NaN or infinity"),
        (torch.zeros(12).to_sparse(), "no plain tensor"),
        (3.0, "no plain tensor"),
    ):
        torch.save(state_of(TINY) | {"proj.bias": value}, file)
        with pytest.raises(InputError, match=said):
            load_point_encoder(file)
    torch.save([torch.zeros(3)], file)
    with pytest.raises(InputError, match="holds a list"):
        load_point_encoder(file)


def test_missing_and_huge_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"holds no model\.pt or model\.safetensors"):
        load_point_encoder(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        load_point_encoder(tmp_path / "model.pt")
    torch.save(state_of(TINY), tmp_path / "model.pt")
    monkeypatch.setattr(tensor_files, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="more than the limit"):
        read_encoder_tensors(tmp_path / "model.pt")
