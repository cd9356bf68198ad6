"""The types at the seams: closed forms, round trips, and advice on bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hoirecon.arrays import as_floats, as_image, as_ints, as_mask
from hoirecon.body_params import BodyParams
from hoirecon.camera import Camera
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError, MissingExtraError, TopologyError, require
from hoirecon.files import atomic_file, atomic_folder, check_replaceable, read_json, write_json
from hoirecon.mesh import Mesh
from hoirecon.observation import Keypoints, Observation, box_of_mask, check_box
from hoirecon.pose import ObjectPose

TETRA_V = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
TETRA_F = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


class TestCamera:
    def test_projects_by_the_pinhole_formula(self) -> None:
        cam = Camera(np.array([[500, 0, 320], [0, 400, 240], [0, 0, 1.0]]), 640, 480)
        np.testing.assert_allclose(cam.project([1.0, 2.0, 4.0]), [320 + 125, 240 + 200])

    def test_points_behind_are_nan(self) -> None:
        assert np.isnan(Camera.default(640, 480).project([[0, 0, -1.0], [0, 0, 0]])).all()

    @given(st.floats(-300, 900), st.floats(-300, 900), st.floats(0.1, 50))
    def test_unproject_inverts_project(self, u: float, v: float, z: float) -> None:
        cam = Camera.from_focal(432.1, 640, 480)
        np.testing.assert_allclose(cam.project(cam.unproject([u, v], z)), [u, v], atol=1e-8)

    def test_resize_and_crop_move_the_projection_as_they_move_the_pixels(self) -> None:
        cam, point = Camera.from_focal(600, 640, 480), np.array([0.3, -0.2, 2.0])
        u, v = cam.project(point)
        np.testing.assert_allclose(cam.resized(320, 120).project(point), [u / 2, v / 4])
        np.testing.assert_allclose(cam.cropped(10, 20, 100, 100).project(point), [u - 10, v - 20])

    def test_default_says_so(self) -> None:
        assert Camera.default(100, 100).source == "default"

    @pytest.mark.parametrize("K", [np.eye(4), -np.eye(3), np.ones((3, 3)), np.full((3, 3), np.nan)])
    def test_bad_intrinsics_are_refused(self, K: np.ndarray) -> None:
        with pytest.raises(InputError):
            Camera(K, 10, 10)


class TestPose:
    @given(st.integers(0, 10_000), st.floats(0.05, 20))
    def test_inverse_and_matrix_agree_with_apply(self, seed: int, s: float) -> None:
        rng = np.random.default_rng(seed)
        pose = ObjectPose(Rotation.random(random_state=seed).as_matrix(), rng.normal(size=3), s)
        points = rng.normal(size=(5, 3))
        moved = pose.apply(points)
        np.testing.assert_allclose(pose.apply_inverse(moved), points, atol=1e-9)
        np.testing.assert_allclose((pose.T_cam_obj @ np.c_[points, np.ones(5)].T).T[:, :3], moved, atol=1e-9)
        again = ObjectPose.from_matrix(pose.T_cam_obj)
        np.testing.assert_allclose(again.R, pose.R, atol=1e-9)
        assert again.s == pytest.approx(s)

    def test_mirror_and_scale_in_R_are_refused(self) -> None:
        with pytest.raises(InputError, match="keep scale in s"):
            ObjectPose(2 * np.eye(3), [0, 0, 1])
        with pytest.raises(InputError):
            ObjectPose(np.diag([1, 1, -1.0]), [0, 0, 1])
        with pytest.raises(InputError, match="positive"):
            ObjectPose(np.eye(3), [0, 0, 1], -1.0)


class TestMesh:
    def test_tetrahedron(self) -> None:
        mesh = Mesh(TETRA_V, TETRA_F)
        assert mesh.is_watertight
        np.testing.assert_allclose(mesh.face_normals[3], np.ones(3) / np.sqrt(3))
        assert mesh.to_trimesh().volume == pytest.approx(1 / 6)
        assert not Mesh(TETRA_V, TETRA_F[:3]).is_watertight

    def test_topology_names_connectivity_not_position(self) -> None:
        mesh = Mesh(TETRA_V, TETRA_F)
        assert mesh.topology == mesh.with_verts(TETRA_V + 3).topology
        assert mesh.topology != Mesh(TETRA_V, TETRA_F[::-1]).topology

    @pytest.mark.parametrize(
        ("verts", "faces", "says"),
        [
            (np.zeros((0, 3)), np.zeros((0, 3), int), "empty"),
            (TETRA_V * np.nan, TETRA_F, "NaN"),
            (TETRA_V, TETRA_F + 1, "name vertices"),
            (TETRA_V[:, :2], TETRA_F, "shape"),
        ],
    )
    def test_bad_meshes_are_refused(self, verts: np.ndarray, faces: np.ndarray, says: str) -> None:
        with pytest.raises(InputError, match=says):
            Mesh(verts, faces)

    def test_a_mesh_owns_its_arrays(self) -> None:
        verts = TETRA_V.copy()
        mesh = Mesh(verts, TETRA_F)
        verts[0] = 7
        assert mesh.verts[0].tolist() == [0, 0, 0]
        with pytest.raises(AttributeError):
            mesh.verts = verts  # type: ignore[misc]


class TestContactMap:
    def test_wrong_topology_says_what_to_do(self) -> None:
        contact = ContactMap(np.linspace(0, 1, 4), "a")
        assert contact.check_on("a", 4, "it") is contact
        with pytest.raises(TopologyError, match=r"'a' \(4 vertices\).*'b' \(5 vertices\).*transfer"):
            contact.check_on("b", 5, "the chair")

    def test_probabilities_outside_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"\[0, 1\]"):
            ContactMap([0.0, 1.5], "a")
        assert not ContactMap.none(3, "a").any()


class TestObservation:
    def test_camera_of_another_size_is_refused(self) -> None:
        with pytest.raises(InputError, match="camera is for 10 x 8"):
            Observation(np.zeros((9, 10, 3), np.uint8), Camera.default(10, 8))

    def test_mask_of_another_size_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"object_masks\[0\]"):
            Observation(np.zeros((8, 10, 3), np.uint8), Camera.default(10, 8), object_masks=(np.ones((4, 4), bool),))

    def test_boxes(self) -> None:
        mask = np.zeros((10, 20), bool)
        mask[2:5, 3:9] = True
        assert box_of_mask(mask) == (3, 2, 6, 3)
        assert check_box((-5, -5, 10, 10), 20, 10) == (0, 0, 5, 5)
        for box in [(0, 0, 0, 5), (30, 0, 5, 5), (1, 2, 3), (np.nan, 0, 1, 1)]:
            with pytest.raises(InputError, match="object_box"):
                check_box(box, 20, 10)

    def test_keypoints_check_their_confidence(self) -> None:
        with pytest.raises(InputError):
            Keypoints("coco17", np.zeros((17, 2)), np.full(17, 2.0))


class TestArrays:
    def test_masks_of_every_usual_kind_agree(self) -> None:
        want = np.array([[True, False], [False, True]])
        for value in (want, want.astype(np.uint8), want * 255, want * 0.9, np.repeat((want * 255)[..., None], 3, 2)):
            np.testing.assert_array_equal(as_mask(value, (2, 2), "mask"), want)
        with pytest.raises(InputError):
            as_mask(want * -1.0, (2, 2), "mask")
        with pytest.raises(InputError, match=r"highest value is 2: of labels give the mask of one, labels == k"):
            as_mask([[0, 1], [2, 0]], (2, 2), "mask")  # was empty

    def test_of_a_cut_out_the_opaque_is_the_mask(self) -> None:
        want = np.array([[True, False], [False, True]])
        dark = np.full((2, 2, 3), 60, np.uint8)  # a dark thing, cut out
        np.testing.assert_array_equal(as_mask(np.dstack([dark, want * 255]), (2, 2), "mask"), want)
        opaque = np.dstack([*[want * 255] * 3, np.full((2, 2), 255)])
        np.testing.assert_array_equal(as_mask(opaque, (2, 2), "mask"), want)

    @pytest.mark.parametrize(
        ("image", "says"),
        [
            (np.ones((4, 5, 3)), "up to 1: multiply by 255"),
            (np.full((4, 5, 3), 255), r"up to 255: convert, image.astype\(np.uint8\)"),
            (np.full((4, 5, 3), 65535, np.uint16), r"up to 65535: of 16 bits take \(image // 256\)"),
            (np.zeros((3, 40, 50), np.uint8), "move the channels to the last axis"),
        ],
    )
    def test_how_an_image_becomes_one(self, image: Any, says: str) -> None:
        with pytest.raises(InputError, match=says):
            as_image(image)

    def test_an_open_file_is_no_array(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"x")
        with (tmp_path / "a").open() as file, pytest.raises(InputError, match="array of numbers"):
            as_image(file)  # it has a method detach, as tensors have

    def test_images_and_numbers(self) -> None:
        assert as_image(np.zeros((2, 2), np.uint8)).shape == (2, 2, 3)
        with pytest.raises(InputError, match="uint8"):
            as_image(np.zeros((2, 2, 3)))
        with pytest.raises(InputError, match="fractions"):
            as_ints([0.5], ("N",), "faces")
        with pytest.raises(InputError, match="array of numbers"):
            as_floats(["a"], ("N",), "x")

    def test_torch_tensors_are_read(self) -> None:
        torch = pytest.importorskip("torch")
        assert as_floats(torch.ones(3, requires_grad=True), (3,), "x").tolist() == [1, 1, 1]


def test_body_params_take_one_batch_row_and_refuse_others() -> None:
    rest = BodyParams.rest()
    assert rest.replace(body_pose=np.ones((21, 3))).body_pose.shape == (63,)
    with pytest.raises(InputError, match="body_pose"):
        rest.replace(body_pose=np.ones(69))


def test_missing_extra_is_one_sentence() -> None:
    with pytest.raises(MissingExtraError, match=r"hoirecon\[render\]"):
        require("no_such_package_anywhere", extra="render")


class TestFiles:
    def test_a_failed_write_leaves_the_old_file(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"x": 1})
        with pytest.raises(RuntimeError), atomic_file(tmp_path / "a.json") as tmp:
            tmp.write_text("half")
            raise RuntimeError
        assert read_json(tmp_path / "a.json") == {"x": 1}
        assert [p.name for p in tmp_path.iterdir()] == ["a.json"]

    def test_a_failed_folder_leaves_the_old_folder(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        with atomic_folder(out, "scene.json") as tmp:
            (tmp / "scene.json").write_text("{}")
        with pytest.raises(KeyboardInterrupt), atomic_folder(out, "scene.json") as tmp:
            (tmp / "other").write_text("half")
            raise KeyboardInterrupt
        assert [p.name for p in out.iterdir()] == ["scene.json"]
        assert [p.name for p in tmp_path.iterdir()] == ["out"]

    def test_a_users_folder_is_never_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(InputError, match="not empty"):
            check_replaceable(tmp_path, "scene.json")
        with pytest.raises(InputError, match="is a file"):
            check_replaceable(tmp_path / "thesis.tex", "scene.json")

    def test_json_limits(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text("{")
        with pytest.raises(InputError, match="not JSON"):
            read_json(tmp_path / "a.json")
        with pytest.raises(InputError, match="limit"):
            read_json(tmp_path / "a.json", max_bytes=0)
        (tmp_path / "deep.json").write_text("[" * 200_000)
        with pytest.raises(InputError, match="not JSON"):
            read_json(tmp_path / "deep.json")
        with pytest.raises(InputError, match="does not exist"):
            read_json(tmp_path / "b.json")
