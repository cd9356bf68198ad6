"""Body files: what is read, what is refused and how it is said; nothing in a file is ever executed."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from hoirecon.data.body import files, load_body
from hoirecon.data.body.files import FREE_BODY
from hoirecon.data.body.pickles import read_pickle
from hoirecon.errors import InputError

Arrays = dict[str, Any]
Maker = Callable[..., Arrays]


def save_npz(path: Path, arrays: Arrays) -> Path:
    np.savez(path, **arrays)
    return path


def same_model(one: Path, other: Path) -> None:
    a, b = load_body(one, dtype=torch.float64), load_body(other, dtype=torch.float64)
    for name, tensor in vars(a).items():
        if isinstance(tensor, torch.Tensor):
            torch.testing.assert_close(getattr(b, name), tensor, msg=name)
    np.testing.assert_array_equal(a.faces, b.faces)


# ------------------------------------------------------------------------------------------------------ what is read


def test_the_free_body_is_read_by_default() -> None:
    model = load_body()
    assert model.topology == "hoirecon-free-body-1"
    assert model.licence == "CC0-1.0"
    assert model.v_template.shape == (model.num_verts, 3)
    assert model.num_betas == 10
    assert model.posedirs is None or bool(model.posedirs.any())
    assert float(np.ptp(model.rest_verts[:, 1])) == pytest.approx(1.7, abs=0.2)  # metres, standing


def test_betas_are_used_as_they_are_or_as_many_as_asked(body_file: Callable[..., Path]) -> None:
    path = body_file(num_betas=16)
    assert load_body(path).num_betas == 16
    assert load_body(path, num_betas=4).num_betas == 4
    with pytest.raises(InputError, match="17 betas were asked for, but shapedirs has 16"):
        load_body(path, num_betas=17)


def test_topology_names_tell_models_apart(body_arrays: Maker, tmp_path: Path) -> None:
    one = save_npz(tmp_path / "a.npz", body_arrays(seed=0))
    other = save_npz(tmp_path / "b.npz", body_arrays(seed=1))
    assert load_body(one).topology.startswith("smplh-300v-")
    assert load_body(one).topology != load_body(other).topology


def test_smplx_face_joints_hang_on_the_head(body_arrays: Maker, tmp_path: Path) -> None:
    arrays = body_arrays(joints=55)
    model = load_body(save_npz(tmp_path / "x.npz", arrays), dtype=torch.float64)
    w = arrays["weights"]
    np.testing.assert_allclose(model.weights[:, 15].numpy(), w[:, 15] + w[:, 22:25].sum(1))
    np.testing.assert_allclose(model.weights[:, 22].numpy(), w[:, 25])
    assert model.num_betas == 10
    assert model.posedirs is not None
    assert model.posedirs.shape == (300, 3, 459)


# -------------------------------------------------------------------------------------------------------- pickles


@pytest.fixture
def chumpy() -> Iterator[Any]:
    """A module called chumpy that exists only while a test file is written."""
    ch, reordering = types.ModuleType("chumpy.ch"), types.ModuleType("chumpy.reordering")

    class Ch:
        def __init__(self, x: Any) -> None:
            self.x = x

        def __getstate__(self) -> dict[str, Any]:
            return {**self.__dict__, "_dirty_vars": {"x"}, "_itr": None}

    class Select(Ch):
        def __init__(self, a: Any, idxs: Any, preferred_shape: Any) -> None:
            self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape

    Ch.__module__, Select.__module__, Ch.__qualname__, Select.__qualname__ = (
        ch.__name__,
        reordering.__name__,
        "Ch",
        "Select",
    )
    ch.Ch, reordering.Select = Ch, Select  # type: ignore[attr-defined]
    sys.modules.update({ch.__name__: ch, reordering.__name__: reordering, "chumpy": types.ModuleType("chumpy")})
    yield types.SimpleNamespace(Ch=Ch, Select=Select)
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        sys.modules.pop(name, None)


def python2_bytes(value: Any) -> bytes:
    """Pickle as Python 2 and an old numpy did: raw bytes as 8-bit strings, modules under their old names."""
    python_pickler: Any = pickle._Pickler  # the one written in Python can be changed

    def save_bytes(pickler: Any, raw: bytes) -> None:
        pickler.write(pickle.BINSTRING + len(raw).to_bytes(4, "little") + raw)
        pickler.memoize(raw)

    stream = io.BytesIO()
    pickler = python_pickler(stream, protocol=2)
    pickler.dispatch = {**python_pickler.dispatch, bytes: save_bytes}
    pickler.dump(value)
    written = stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    return written.replace(b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", [scipy.sparse.csc_matrix, scipy.sparse.csr_matrix, np.asarray])
def test_a_python3_pickle_is_read_like_the_npz(body_arrays: Maker, tmp_path: Path, protocol: int, kind: Any) -> None:
    arrays = body_arrays(num_verts=120)
    npz = save_npz(tmp_path / "a.npz", arrays)
    arrays["J_regressor"] = kind(arrays["J_regressor"])
    arrays["f"] = np.asfortranarray(arrays["f"])
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    same_model(npz, path)


def test_a_python2_pickle_with_chumpy_is_read_like_the_npz(body_arrays: Maker, tmp_path: Path, chumpy: Any) -> None:
    arrays = body_arrays(num_verts=120)
    npz = save_npz(tmp_path / "a.npz", arrays)
    big = np.concatenate([arrays["shapedirs"], np.ones((120, 3, 4))], axis=2)
    kept = np.arange(big.size).reshape(big.shape)[:, :, :16].ravel()
    arrays["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
    arrays["v_template"] = chumpy.Ch(arrays["v_template"])
    arrays["shapedirs"] = chumpy.Select(chumpy.Ch(big), kept, (120, 3, 16))
    arrays["bs_type"], arrays["unused"] = "lrotmin", np.float64(1.5)
    path = tmp_path / "a.pkl"
    path.write_bytes(python2_bytes(arrays))
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        del sys.modules[name]
    same_model(npz, path)


class Attack:
    """An object whose unpickling calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch {mark}",), f"{os.name}.system"),
        (eval, ("open('{mark}', 'w')",), "builtins.eval|__builtin__.eval"),
        (open, ("{mark}", "w"), "io.open"),
        (getattr, (np, "load"), "builtins.getattr|__builtin__.getattr"),
        (np.load, ("{mark}", None, True), "numpy.*load"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_calls_a_function_is_refused_by_name(
    body_arrays: Maker, tmp_path: Path, function: Any, arguments: tuple[Any, ...], name: str, protocol: int
) -> None:
    mark = tmp_path / "executed"
    filled = tuple(a.format(mark=mark) if isinstance(a, str) else a for a in arguments)
    attack = Attack(function, *(a if not isinstance(a, types.ModuleType) else 1 for a in filled))
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({**body_arrays(num_verts=30), "extra": attack}, protocol=protocol))
    with pytest.raises(InputError, match=f"'({name})'.*not executed"):
        load_body(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7ftR.",  # an array of two billion numbers, made by a plain call
        b"\x80\x02ccopy_reg\n_reconstructor\n(cnumpy\ndtype\nc__builtin__\nobject\nNtR.",
        b"\x80\x02ccollections\nOrderedDict\n(K\x01tR.",
        b"\x80\x02c_codecs\nencode\n(X\x03\x00\x00\x00abcX\x03\x00\x00\x00zip\x85R.",
        b"\x80\x02P1\n.",
        b"",
        b"not a pickle",
    ],
)
def test_hostile_and_broken_pickles_end_in_one_sentence(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(payload)
    with pytest.raises(InputError):
        read_pickle(path, ("v_template",))


def test_damaged_pickles_never_crash(body_arrays: Maker, tmp_path: Path) -> None:
    arrays = {k: v for k, v in body_arrays(num_verts=4, num_betas=1).items() if k not in ("posedirs", "weights")}
    arrays["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
    whole = pickle.dumps(arrays, protocol=2)
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.pkl"
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), size=3):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged[: rng.integers(1, len(whole) + 1)]))
        try:
            read_pickle(path, tuple(arrays))
        except InputError:
            refused += 1
    assert refused > 200  # a cut file is refused; a changed digit inside an array may pass


# -------------------------------------------------------------------------------------------------------- bad files


def change(key: str, value: Any) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.__setitem__(key, value(arrays[key]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a.pop("weights"), "lacks 'weights'"),
        (change("weights", lambda w: w[:, :50]), r"weights has shape \(300, 50\), expected \(300, 52\)"),
        (change("posedirs", lambda p: p[..., :207]), r"posedirs has shape \(300, 3, 207\), expected \(300, 3, 459\)"),
        (change("shapedirs", lambda s: s[:200]), r"shapedirs has shape \(200, 3, 16\), expected \(300, 3, NB\)"),
        (change("shapedirs", lambda s: s[..., :0]), "no shape coefficients"),
        (change("J_regressor", lambda j: j.T), r"J_regressor has shape \(300, 52\), expected \(52, 300\)"),
        (change("J_regressor", lambda j: j * 2), "of J_regressor sums to 2"),
        (change("weights", lambda w: w * 0), "of weights sums to 0"),
        (change("kintree_table", lambda k: k[:, :24]), "SMPL file.*SMPL-H file"),
        (change("kintree_table", lambda k: k[:, :40]), "40 joints, expected 52"),
        (change("kintree_table", lambda k: k[0]), "kintree_table has shape"),
        (change("kintree_table", lambda k: k * 0), "other parents"),
        (change("hands_meanl", lambda h: h[:6]), r"hands_meanl has shape \(6,\), expected \(45"),
        (change("v_template", lambda v: v * 1000), "scale it to metres"),
        (change("v_template", lambda v: v * np.nan), "NaN"),
        (change("f", lambda f: f + 300), "only 300"),
        (change("f", lambda f: f[:0]), "empty"),
    ],
)
def test_wrong_arrays_are_named(
    body_arrays: Maker, tmp_path: Path, spoil: Callable[[Arrays], Any], message: str
) -> None:
    arrays = body_arrays()
    spoil(arrays)
    with pytest.raises(InputError, match=message):
        load_body(save_npz(tmp_path / "bad.npz", arrays))


def test_objects_in_an_npz_are_not_unpickled(body_arrays: Maker, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    arrays = body_arrays()
    arrays["v_template"] = np.array([Attack(os.system, f"touch {mark}")], dtype=object)
    with pytest.raises(InputError, match="plain arrays"):
        load_body(save_npz(tmp_path / "evil.npz", arrays))
    assert not mark.exists()


def test_missing_foreign_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_body(tmp_path / "none.npz")
    (tmp_path / "body.obj").write_text("v 0 0 0")
    with pytest.raises(InputError, match=r"neither \.npz nor \.pkl"):
        load_body(tmp_path / "body.obj")
    (tmp_path / "cut.npz").write_bytes(FREE_BODY.read_bytes()[:5000])
    with pytest.raises(InputError, match="not a readable"):
        load_body(tmp_path / "cut.npz")


def test_files_that_are_or_unpack_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("v_template.npy", b"\0" * 300_000)
    monkeypatch.setattr(files, "MAX_BYTES", 100_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="unpacks to 300000 bytes"):
        load_body(path)
    with pytest.raises(InputError, match="more than the limit"):
        load_body(FREE_BODY)


def test_landmarks_and_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with np.load(FREE_BODY) as file:
        arrays = dict(file)
    spoiled = {**arrays, "landmark_coco17_idx": arrays["landmark_coco17_idx"] + 10**6}
    with pytest.raises(InputError, match="landmark_coco17_idx"):
        load_body(save_npz(tmp_path / "a.npz", spoiled))
    spoiled = {**arrays, "mirror": np.roll(arrays["mirror"], 1)}
    with pytest.raises(InputError, match="mirror"):
        load_body(save_npz(tmp_path / "b.npz", spoiled))
