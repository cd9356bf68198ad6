"""``hoirecon contact``, ``contact convert`` and ``bench``: what they write, and that mistakes leave nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hoirecon import cli
from hoirecon.contact_map import ContactMap
from tests.contact.checkpoints.tiny_checkpoint import write_released
from tests.contact.toy_scene import ball, photograph, told


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photograph, a mesh, weights of ours and a released folder."""
    import trimesh

    folder = tmp_path_factory.mktemp("cli")
    Image.fromarray(photograph(0)).save(folder / "photo.png")
    mesh = ball()
    trimesh.Trimesh(mesh.verts, mesh.faces, process=False).export(folder / "ball.obj")
    model = told(photograph(0))
    model.save_pretrained(folder / "weights")
    write_released(folder / "released", model.network)
    model.tokenizer.save(folder / "released")
    return folder


@pytest.fixture(autouse=True)
def _no_cache_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOIRECON_HOME", str(tmp_path / "home"))


def _run(place: Path, out: Path, *options: str, weights: str = "weights") -> int:
    return cli.run(
        ["contact", str(place / "photo.png"), "--weights", str(place / weights), "--dtype", "float32",
         *(o.replace("PLACE", str(place)) for o in options), "--out", str(out)]
    )  # fmt: skip


def _names(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def test_body_and_object(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert _run(place, out, "--object", "bottle", "--mesh", "PLACE/ball.obj", "--view-masks") == 0
    assert _names(out) == ["00_bottle_human.npz", "00_bottle_object.npz", "contact.json"]
    about = json.loads((out / "contact.json").read_text())
    assert about["00_bottle_human"]["named_parts"] == ["left_palm", "right_palm"]
    assert about["00_bottle_object"]["answer"] == "It is [OSEG]."
    human = ContactMap.load(out / "00_bottle_human.npz")
    assert int(human.binary().sum()) == about["00_bottle_human"]["in_contact"]
    assert human.view_masks is not None
    assert len(human.view_masks) == 4
    assert "left_palm" in human.to_parts()
    printed = capsys.readouterr().out
    assert "The contacting body parts are left_palm" in printed
    assert printed.endswith(f"result: {out}\n")


def test_again_into_the_same_folder(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _run(place, out, "--object", "bottle") == 0
    assert _run(place, out, "--object", "bottle", "--object", "scene") == 0
    assert _names(out) == ["00_bottle_human.npz", "01_scene_human.npz", "contact.json"]


def test_image_and_affordance(place: Path, tmp_path: Path) -> None:
    assert _run(place, tmp_path / "a", "--object", "bottle", "--kind", "image", "--picture") == 0
    assert _names(tmp_path / "a") == ["00_bottle_image.npz", "00_bottle_image.png", "contact.jpg", "contact.json"]
    with np.load(tmp_path / "a" / "00_bottle_image.npz") as arrays:
        probability = arrays["probability"]
    mask = np.asarray(Image.open(tmp_path / "a" / "00_bottle_image.png"))
    assert ((mask[..., 0] == 255) == (probability > 0.5)).all()
    assert _run(place, tmp_path / "b", "--object", "bottle", "--kind", "affordance", "--mesh", "PLACE/ball.obj") == 0
    assert json.loads((tmp_path / "b" / "contact.json").read_text())["00_bottle_affordance"]["affordance"] == "grasp"


def test_names_become_harmless_files(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _run(place, out, "--object", "../../etc/[SEG] x", "--object", "杯\n子") == 0
    assert _names(out) == ["00_etc_seg_x_human.npz", "01_杯_子_human.npz", "contact.json"]
    assert json.loads((out / "contact.json").read_text())["01_杯_子_human"]["label"] == "杯\n子"


def test_picture(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("open3d")
    out = tmp_path / "out"
    assert _run(place, out, "--object", "bottle", "--mesh", "PLACE/ball.obj", "--picture") == 0
    with Image.open(out / "contact.jpg") as picture:
        assert picture.width > 1000


def test_reference_layout_of_an_object(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--object", "bottle", "--kind", "affordance", "--mesh", "PLACE/ball.obj", "--reference-layout")
    assert _run(place, out, *options) == 0
    with np.load(out / "00_bottle_affordance.npz") as arrays:
        assert list(arrays) == ["pred_contact_3d"]
        assert arrays["pred_contact_3d"].shape == (1, 162)


def test_released_and_converted(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(place, tmp_path / "a", "--object", "bottle", weights="released") == 0
    assert "trained on views of SMPL-H" in capsys.readouterr().out
    assert cli.run(["contact", "convert", str(place / "released"), str(tmp_path / "ours")]) == 0
    assert _run(place, tmp_path / "b", "--object", "bottle", weights=str(tmp_path / "ours")) == 0
    a, b = (ContactMap.load(tmp_path / n / "00_bottle_human.npz").probability for n in "ab")
    assert np.abs(a - b).max() < 1e-6


def test_one_person(place: Path, tmp_path: Path) -> None:
    options = ("--object", "bottle", "--kind", "image")
    assert _run(place, tmp_path / "out", *options, "--person-box", "50,10,20,30") == 0
    with np.load(tmp_path / "out" / "00_bottle_image.npz") as arrays:
        assert arrays["probability"].shape == (60, 90)


def test_a_person_s_mask_of_zeros_and_ones_is_a_mask(place: Path, tmp_path: Path) -> None:
    mask = np.zeros((60, 90), np.uint8)
    mask[10:40, 50:70] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    options = ("--object", "bottle", "--kind", "image", "--person-mask", str(tmp_path / "mask.png"))
    assert _run(place, tmp_path / "out", *options) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--object"),
        (["--object", "cup", "--weights", "tiny"], "hoirecon reconstruct ... --contact-weights tiny"),
        (["--object", ""], "letter or a digit"),
        (["--object", "x" * 10_000], "too long"),
        (["--object", "cup", "--mesh", "PLACE/ball.obj", "--mesh", "PLACE/ball.obj"], "as many --mesh"),
        (["--object", "cup", "--mesh", "no.obj"], "no.obj does not exist"),
        (["--object", "cup", "--mesh", "PLACE/photo.png"], "not a mesh file"),
        (["--object", "cup", "--kind", "affordance"], "--mesh"),
        (["--object", "cup", "--kind", "image", "--mesh", "PLACE/ball.obj"], "leave these options"),
        (["--object", "cup", "--reference-layout"], "--body"),
        (["--object", "cup", "--person-box", "1,2,3"], "x,y,width,height"),
        (["--object", "cup", "--person-box", "900,2,3,4"], "outside the picture"),
        (["--object", "cup", "--body", "no.npz"], "no.npz"),
        (["--object", "cup", "--device", "cuda:7"], "choose cpu"),
        (["--object", "cup", "--quantize", "int4", "--weights", "PLACE/released"], "convert it once"),
        (["--object", "cup", "--weights", "PLACE"], "not a checkpoint"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    options: list[str], says: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert _run(place, out, *options) == 2
    printed = capsys.readouterr().err.strip().splitlines()
    assert len(printed) == 1
    assert printed[0].startswith("hoirecon: ")
    assert says in printed[0], printed[0]
    assert not out.exists()
    assert not list(tmp_path.glob(".out*"))


def test_mistakes_of_the_photograph_are_said_before_the_weights(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--object", "cup", "--weights", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    assert cli.run(["contact", str(tmp_path / "none.jpg"), *args]) == 2
    assert "none.jpg does not exist" in capsys.readouterr().err


def test_a_users_folder_is_not_replaced(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    assert _run(place, tmp_path, "--object", "cup") == 2
    assert "not empty" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_convert_refuses_what_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["contact", "convert", str(tmp_path), str(tmp_path / "ours")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "ours").exists()


@pytest.fixture(scope="module")
def smplh(place: Path) -> Path:
    """A stand-in for a user's SMPL-H file: the free body without its last twelve vertices."""
    import hoirecon.data.body

    count = 6890
    with np.load(Path(hoirecon.data.body.__file__).parent / "assets" / "free_body.npz", allow_pickle=False) as read:
        arrays = {name: read[name] for name in ("v_template", "shapedirs", "weights", "kintree_table")}
        regressor, faces = read["J_regressor"][:, :count], read["f"]
    arrays |= {name: arrays[name][:count] for name in ("v_template", "shapedirs", "weights")}
    arrays |= {"J_regressor": regressor / regressor.sum(1, keepdims=True), "f": faces[(faces < count).all(1)]}
    np.savez(place / "smplh.npz", **arrays)
    return place / "smplh.npz"


def test_smplx_by_the_users_matrix(
    place: Path, smplh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both of the reference's arrays, and in our own layout a file beside the first."""
    import scipy.sparse

    pick = np.arange(10475) % 6890
    matrix = scipy.sparse.csr_matrix((np.ones(10475), (np.arange(10475), pick)), (10475, 6890))
    scipy.sparse.save_npz(tmp_path / "matrix.npz", matrix)
    options = ["--object", "bottle", "--body", str(smplh), "--smplx-matrix", str(tmp_path / "matrix.npz")]
    assert _run(place, tmp_path / "theirs", *options, "--reference-layout") == 0
    with np.load(tmp_path / "theirs" / "00_bottle_human.npz") as read:
        assert read["pred_contact_3d_smplh"].shape == (1, 6890)
        assert read["pred_contact_3d_smplx"].shape == (10475,)
        np.testing.assert_array_equal(read["pred_contact_3d_smplx"], read["pred_contact_3d_smplh"][0, pick])
    assert _run(place, tmp_path / "ours", *options) == 0
    human = ContactMap.load(tmp_path / "ours" / "00_bottle_human.npz")
    on_smplx = ContactMap.load(tmp_path / "ours" / "00_bottle_human_smplx.npz")
    assert (human.topology, on_smplx.topology) == ("smplh", "smplx")
    np.testing.assert_array_equal(on_smplx.probability, human.probability[pick])
    capsys.readouterr()


def test_a_matrix_needs_its_body(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(place, tmp_path / "out", "--object", "bottle", "--smplx-matrix", "nowhere.npz") == 2
    assert "--body" in capsys.readouterr().err


def test_convert_once_and_again_only_when_told(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert = ["contact", "convert", str(place / "released"), str(tmp_path / "ours")]
    assert cli.run(convert) == 0
    assert "checksums written" in capsys.readouterr().out
    assert cli.run(convert) == 2
    assert "overwrite" in capsys.readouterr().err
    assert cli.run([*convert, "--overwrite"]) == 0
    out = tmp_path / "out"
    weights = tmp_path / "ours"
    assert _run(place, out, "--object", "bottle", "--verify", weights=str(weights)) == 0
    shard = next(weights.rglob("mv_loc*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-3:] = bytes(b ^ 1 for b in data[-3:])
    shard.write_bytes(data)
    assert _run(place, tmp_path / "other", "--object", "bottle", "--verify", weights=str(weights)) == 2
    assert shard.name in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["labels", "cut-out"])
def test_the_persons_mask_is_read_as_every_mask_is(kind: str, tmp_path: Path) -> None:
    from hoirecon.cli_contact import Contact

    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[4:9, 5:12] = 1
    picture = mask if kind == "labels" else np.dstack([mask * 40, mask * 40, mask * 40, mask * 255])
    Image.fromarray(picture).save(tmp_path / "mask.png")
    asked = Contact(tmp_path / "a.jpg", tmp_path, ("cup",), person_mask=tmp_path / "mask.png")
    assert np.array_equal(asked._person(mask.shape), mask > 0)
