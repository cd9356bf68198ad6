"""The commands of retrieval end to end: the library, and an index by a stand-in of released weights, random ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hoirecon import cli
from hoirecon.cli_retrieval import object_mask
from hoirecon.images import read_image
from hoirecon.retrieval.checkpoints.folders import save_point_encoder
from hoirecon.retrieval.checkpoints.specs import PointEncoderSpec
from hoirecon.retrieval.modeling.config import PointBertConfig
from hoirecon.retrieval.modeling.point_bert import build_point_encoder
from tests.retrieval.stand_ins import colored_box, save_clip

TINY = PointBertConfig(
    dim=16, depth=1, heads=2, head_dim=8, mlp_dim=16, patch_dim=8, num_patches=8, patch_points=8, embed_dim=12
)  # fmt: skip


@pytest.fixture
def photo(tmp_path: Path) -> list[str]:
    """A photograph of a tall red thing, and the options that show it."""
    image = np.full((60, 80, 3), 200, np.uint8)
    image[10:50, 30:42] = (220, 30, 20)
    mask = np.zeros((60, 80), np.uint8)
    mask[10:50, 30:42] = 255
    Image.fromarray(image).save(tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return [str(tmp_path / "photo.png"), "--mask", str(tmp_path / "mask.png")]


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    folder = tmp_path / "meshes"
    for name, sides in (("crate", (1.0, 1.0, 1.0)), ("mast", (0.2, 2.0, 0.2)), ("plank", (2.0, 0.1, 0.3))):
        (folder / name).mkdir(parents=True)
        colored_box((220, 30, 20), sides).to_trimesh().export(folder / name / "a.ply")
    (folder / "mast" / "broken.glb").write_bytes(b"not a mesh")
    (folder / "objects.json").write_text(json.dumps({"crate/a.ply": {"licence": "CC0-1.0"}}))
    return folder


def test_a_user_with_weights_names_only_their_folder(
    photo: list[str], meshes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("open3d")
    import torch

    torch.manual_seed(0)
    weights, index = tmp_path / "weights", str(tmp_path / "idx")
    save_point_encoder(build_point_encoder(TINY), PointEncoderSpec("tiny", TINY), weights)
    save_clip(weights / "clip")

    assert cli.run(["index", "build", str(meshes), "--weights", str(weights), "--out", index, "--quiet"]) == 0
    assert "3 objects by tiny (12-d" in capsys.readouterr().out
    assert cli.run(["index", "build", str(meshes), "--weights", str(weights), "--out", index]) == 0
    printed = capsys.readouterr().out
    assert "0 embedded now, 1 files skipped" in printed
    assert "skipped mast/broken.glb: " in printed

    assert cli.run(["index", "info", index, "--verify"]) == 0
    told = capsys.readouterr().out
    assert "objects: 3, 1 embedding(s) each, float32" in told
    assert "licences: not known (2), CC0-1.0 (1)" in told
    assert cli.run(["index", "info", index, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == {"crate": 1, "mast": 1, "plank": 1}

    options = ["--index", index, "--weights", str(weights)]
    out = tmp_path / "hits.png"
    for command in (["retrieve"], ["index", "search"]):
        assert cli.run([*command, *photo, *options, "--json", "--k", "2", "--out", str(out)]) == 0
        hits = json.loads(capsys.readouterr().out)
        assert len(hits) == 2
        assert hits[0]["score"] >= hits[1]["score"]
        assert Image.open(out).size[0] > 3 * 240  # the query and both hits
        out.unlink()
    assert cli.run(["index", "search", *photo, *options, "--label", "mast", "--json"]) == 0
    assert [hit["id"] for hit in json.loads(capsys.readouterr().out)] == ["mast/a.ply"]
    assert cli.run(["index", "search", *photo, *options, "--licence", "CC0-1.0"]) == 0
    assert "1. crate/a.ply" in capsys.readouterr().out

    assert cli.run(["index", "search", *photo, "--index", index, "--weights", str(weights / "clip")]) == 2
    assert "different encoders" in capsys.readouterr().err


def test_the_library_by_name_and_mask(photo: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("open3d")
    out = tmp_path / "hits.jpg"
    assert cli.run(["retrieve", *photo, "--label", "Mobile Phone", "--k", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "1. cell phone/" in printed
    assert Image.open(out).format == "JPEG"
    assert cli.run(["retrieve", "--label", "phone", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["licence"] == "Apache-2.0"


def test_an_object_is_cut_out_of_a_box(photo: list[str], tmp_path: Path) -> None:
    found = object_mask(read_image(photo[0]), "26,6,22,50", None)
    assert found is not None
    assert found[12:48, 32:40].mean() > 0.9
    assert not found[:, :24].any()


def test_what_cannot_be_is_one_sentence(photo: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [
        (["retrieve", "--label", "chiar"], "did you mean"),
        (["retrieve"], "query is empty"),
        (["retrieve", *photo, "--object-box", "1,2,3,4"], "give one of them"),
        (["retrieve", *photo, "--out", str(tmp_path / "x.gif")], "neither .png nor .jpg"),
        (["retrieve", *photo, "--weights", str(tmp_path)], "belong to an index"),
        (["retrieve", "--object-box", "1,2,3,4"], "belongs to a photograph"),
        (["retrieve", photo[0]], "mask= or label="),
        (["retrieve", *photo, "--licence", "none"], "nothing was found"),
        (["index", "info", str(tmp_path)], "index.json"),
        (["index", "search", *photo, "--index", str(tmp_path)], "index.json"),
        (["index", "build", str(tmp_path / "no"), "--weights", "no", "--out", str(tmp_path / "i")], "does not exist"),
    ]
    for args, says in cases:
        assert cli.run(args) == 2
        assert says in capsys.readouterr().err
