"""Three sources of the same thing: given, retrieved, generated (from files as SAM 3D Objects writes them)."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from hoirecon.data.objects import load_object
from hoirecon.data.objects.orientation import OrientationConfig
from hoirecon.data.objects.repair import RepairConfig
from hoirecon.data.objects.shell import ShellConfig
from hoirecon.data.objects.usable import UsableConfig, usable_from_library
from hoirecon.data.objects.usable_cache import ObjectCache
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh
from hoirecon.retrieval.generated import GeneratedShape, ImageTo3D, Sam3dFiles, gaussian_centers, sam3d_pose
from hoirecon.retrieval.index.object_index import Hit
from hoirecon.retrieval.index.records import ObjectRecord
from hoirecon.retrieval.protocols import ImageQuery
from hoirecon.retrieval.sources import GeneratedObjects, GivenMesh, ObjectSource, Preparation, RetrievedObjects

pytest.importorskip("open3d")
LIGHT = Preparation(
    config=UsableConfig(RepairConfig(skin=ShellConfig(cells=60_000)), OrientationConfig("keep"), grid_nodes=0),
    cache=ObjectCache(max_bytes=0),
)
CUP = ImageQuery(label="cup")
Z_UP_TO_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def _hits(*records: ObjectRecord) -> Any:
    hits = [Hit(record, 0.9 - 0.1 * i, i, i) for i, record in enumerate(records)]
    return lambda query, k: hits[:k]


def _stood(name: str = "cup") -> Mesh:
    return load_object(name).mesh


class _Model:
    def generate(self, query: ImageQuery) -> GeneratedShape:
        return GeneratedShape(_stood(), np.eye(3), np.array([0, 0, 2.0]), 1.5, "stub", "CC0-1.0")


def test_all_three_are_sources_of_one_kind() -> None:
    record = ObjectRecord("a", source="library:cup/plain", licence="by")
    sources = [
        GivenMesh(_stood(), preparation=LIGHT),
        RetrievedObjects(_hits(record), lambda r: _stood(), preparation=LIGHT),
        GeneratedObjects(_Model(), preparation=LIGHT),
    ]
    assert isinstance(_Model(), ImageTo3D)
    for source in sources:
        assert isinstance(source, ObjectSource)
        found = source.objects(CUP)
        assert len(found) == 1
        assert found[0].name == "cup"
        assert found[0].category == "cup"
        assert found[0].mesh.is_watertight
        with pytest.raises(InputError, match="k is"):
            source.objects(CUP, 0)


def test_hits_that_cannot_be_used_make_room_for_the_next() -> None:
    records = [ObjectRecord(name, licence="by-sa") for name in ("flat", "good", "better")]

    def fetch(record: ObjectRecord) -> Mesh:
        return Mesh(np.zeros((3, 3)), [[0, 1, 2]]) if record.id == "flat" else _stood()

    found = RetrievedObjects(_hits(*records), fetch, preparation=LIGHT).objects(CUP, 2)
    assert [o.score for o in found] == [0.8, pytest.approx(0.7)]
    assert [o.source for o in found] == ["good", "better"]
    assert found[0].licence == "by-sa"
    assert "flat: mesh has no face with an area" in found[0].notes[-1]
    with pytest.raises(InputError, match="no mesh for cup was found"):
        RetrievedObjects(_hits(records[0]), fetch, preparation=LIGHT).objects(CUP)
    with pytest.raises(InputError, match="give a mesh or a name"):
        RetrievedObjects(_hits(), fetch, preparation=LIGHT).objects(CUP)


def test_records_name_library_objects_files_or_addresses(tmp_path: Path) -> None:
    _stood().to_trimesh().export(tmp_path / "cup.ply")
    default = load_object("cup").id
    library = ObjectRecord("a", source=f"library:{default}")
    views = np.stack([Rotation.from_euler("y", a).as_matrix() for a in (0.0, 1.0)])
    found = RetrievedObjects(_hits(library), view_rotations=views, preparation=LIGHT).objects(CUP)[0]
    assert found.mesh.topology == _stood().topology
    assert found.licence == load_object("cup").licence
    assert found.initial_rotations is not None
    np.testing.assert_allclose(found.initial_rotations, views[:1])
    sized = replace(LIGHT, size=0.3)
    assert RetrievedObjects(_hits(library), preparation=sized).objects(CUP)[0].size.longest == 0.3
    file = ObjectRecord("b", source=str(tmp_path / "cup.ply"))
    assert RetrievedObjects(_hits(file), preparation=LIGHT).objects(CUP)[0].mesh.is_watertight
    for source in (None, "https://example.org/a.glb", str(tmp_path / "none.ply")):
        with pytest.raises(InputError, match=r"fetch|does not exist"):
            RetrievedObjects(_hits(ObjectRecord("c", source=source)), preparation=LIGHT).objects(CUP)
    ready = usable_from_library(load_object("cup"))
    assert RetrievedObjects(_hits(library), lambda r: ready).objects(CUP)[0].symmetry == ready.symmetry


def test_a_generated_size_is_weighed_with_the_names() -> None:
    thing = GeneratedObjects(_Model(), LIGHT).objects(CUP)[0]
    category = load_object("cup").category
    by_depth = 1.5 * float(_stood().extents.max())
    low, high = sorted((category.size_median, by_depth))
    assert low < thing.size.longest < high
    assert thing.size.log_sigma < min(category.size_log_sigma, 0.3)
    assert thing.initial_rotations is not None
    unnamed = GeneratedObjects(_Model(), LIGHT).objects(ImageQuery(label="frobnicator"))[0]
    assert unnamed.size.longest == pytest.approx(by_depth)
    assert unnamed.licence == "CC0-1.0"


def test_the_pose_of_sam_3d_agrees_with_its_own_order_of_products() -> None:
    """Row vectors, scaled, turned from the right, moved; in pytorch3d's frame; Gaussians z up, the mesh y up."""
    rng = np.random.default_rng(0)
    q, t, s = rng.normal(size=4), rng.normal(size=3), 0.7
    z_up = rng.normal(size=(20, 3))
    R_rows = Rotation.from_quat(q / np.linalg.norm(q), scalar_first=True).as_matrix()
    in_pytorch3d = (z_up * s) @ R_rows + t
    expected = in_pytorch3d * [-1, -1, 1]
    y_up = z_up @ Z_UP_TO_Y_UP.T
    R, t_cam, scale = sam3d_pose({"rotation": q[None], "translation": t[None], "scale": np.full((1, 3), s)})
    np.testing.assert_allclose(scale * y_up @ R.T + t_cam, expected, atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_files_of_sam_3d_become_an_object(tmp_path: Path, suffix: str) -> None:
    _stood().to_trimesh().export(tmp_path / "cup.glb")
    pose = {"rotation": [[1.0, 0, 0, 0]], "translation": [[0.1, 0, 2]], "scale": [[0.5, 0.5, 0.5]]}
    path = tmp_path / f"pose{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(pose))
    else:
        np.savez(path, **{k: np.array(v) for k, v in pose.items()})
    thing = GeneratedObjects(Sam3dFiles(tmp_path / "cup.glb", path), LIGHT).objects(CUP)[0]
    assert "SAM 3D Objects" in thing.source
    assert thing.initial_rotations is not None
    np.testing.assert_allclose(thing.initial_rotations[0] @ [0, 1, 0], [0, 0, 1], atol=1e-9)
    assert Sam3dFiles(tmp_path / "cup.glb").generate().scale is None


def _write_gaussians(path: Path, points: Any, opacity: Any) -> None:
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2",
             "rot_0", "rot_1", "rot_2", "rot_3"]  # fmt: skip
    rows = np.zeros((len(points), len(names)), "<f4")
    rows[:, :3], rows[:, 9], rows[:, 13] = points, opacity, 1
    head = "ply\nformat binary_little_endian 1.0\n" + f"element vertex {len(points)}\n"
    head += "".join(f"property float {name}\n" for name in names) + "end_header\n"
    path.write_bytes(head.encode() + rows.tobytes())


def test_gaussians_get_a_skin_and_stand_up(tmp_path: Path) -> None:
    """A tall cylinder, z up in the file; haze round it does not count."""
    tall = trimesh.creation.cylinder(0.2, 1.0)
    points = np.asarray(trimesh.sample.sample_surface(tall, 8000, seed=0)[0])
    haze = np.random.default_rng(0).uniform(-2, 2, (500, 3))
    opacity = np.r_[np.full(8000, 3.0), np.full(500, -4.0)]
    _write_gaussians(tmp_path / "splat.ply", np.concatenate([points, haze]), opacity)
    mesh = Sam3dFiles(tmp_path / "splat.ply").generate().mesh
    assert mesh.is_watertight
    assert mesh.extents[1] == pytest.approx(1.0, abs=0.08)
    assert mesh.extents[[0, 2]] == pytest.approx([0.4, 0.4], abs=0.08)
    assert mesh.to_trimesh().volume == pytest.approx(math.pi * 0.04, rel=0.25)
    found = gaussian_centers(tmp_path / "splat.ply")
    assert found is not None
    assert len(found) == 8000


def test_broken_files_of_sam_3d_are_refused_in_words(tmp_path: Path) -> None:
    good = {"rotation": [1, 0, 0, 0], "translation": [0, 0, 1], "scale": [1]}
    for wrong, words in (
        ({"rotation": [1, 0, 0, 0]}, "lacks translation, scale"),
        (good | {"scale": [1, 2, 1]}, "same three times"),
        (good | {"scale": [-1]}, "positive"),
        (good | {"rotation": [0, 0, 0, 0]}, "length 0"),
        (good | {"rotation": [math.nan, 0, 0, 0]}, "rotation"),
        (good | {"translation": [0, 0]}, "translation"),
    ):
        with pytest.raises(InputError, match=words):
            sam3d_pose(wrong)
    _write_gaussians(tmp_path / "faint.ply", np.eye(3), np.full(3, -9.0))
    with pytest.raises(InputError, match="no Gaussian more opaque"):
        Sam3dFiles(tmp_path / "faint.ply").generate()
    _write_gaussians(tmp_path / "cut.ply", np.zeros((500, 3)), np.full(500, 9.0))
    (tmp_path / "cut.ply").write_bytes((tmp_path / "cut.ply").read_bytes()[:3000])
    with pytest.raises(InputError):
        Sam3dFiles(tmp_path / "cut.ply").generate()
    (tmp_path / "list.json").write_text("[1]")
    _stood().to_trimesh().export(tmp_path / "cup.glb")
    with pytest.raises(InputError, match="not a pose"):
        Sam3dFiles(tmp_path / "cup.glb", tmp_path / "list.json").generate()
    with pytest.raises(InputError, match="does not exist"):
        Sam3dFiles(tmp_path / "none.glb").generate()
    with pytest.raises(InputError, match="ply_up"):
        Sam3dFiles(tmp_path / "cup.glb", ply_up="x").generate()
