"""The InteractVLM-style baseline against outputs of the published code: its pieces, and whole short fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.camera import Camera
from hoirecon.fitting.baselines.geometry import UPRIGHT, align, matrix_of_6d, six_of_matrix, transform
from hoirecon.fitting.baselines.interactvlm_pieces import (
    all_pairs_contact,
    crop_camera,
    half_dice,
    register,
    soft_centroid,
)
from hoirecon.fitting.baselines.interactvlm_style import (
    InteractvlmConfig,
    Params,
    Prepared,
    Step,
    descend,
    evaluate,
    prepare,
    start,
    start_translation,
)
from hoirecon.fitting.baselines.types import BaselineProblem
from hoirecon.fitting.soft_raster import Renderer, soft_raster
from hoirecon.fitting.soft_silhouette import soft_silhouette
from hoirecon.mesh import Mesh
from tests.contact.parity_data import arrays, parity_root, values

ICP_SETTINGS = ("rigid10", "rigid100", "scale10", "scale_min", "loose", "no_init")
RUNS = ("default", "no_icp", "icp_scale", "filter45")


def _read(name: str) -> dict[str, Any]:
    if not (parity_root() / "optim").is_dir():
        pytest.skip("this set of parity vectors has no optim folder")
    return arrays(f"optim/{name}")


@pytest.fixture(scope="module")
def pieces() -> dict[str, Any]:
    return _read("pieces")


@pytest.fixture(scope="module")
def scene() -> dict[str, Any]:
    return _read("fit_scene")


def _under(read: dict[str, Any], prefix: str) -> list[str]:
    """Names of the cases below a prefix."""
    return sorted({key[len(prefix) :].split("/")[0] for key in read if key.startswith(prefix)})


def _t(value: Any) -> torch.Tensor:
    return torch.as_tensor(value)


# ------------------------------------------------------------------------------------------------------------ pieces
def test_rotations_by_six_numbers(pieces: dict[str, Any]) -> None:
    vectors = _t(pieces["rot6d/vectors"])
    np.testing.assert_allclose(matrix_of_6d(vectors), pieces["rot6d/vectors_to_matrices"], atol=1e-5)
    np.testing.assert_allclose(six_of_matrix(_t(pieces["rot6d/matrices"])), pieces["rot6d/matrices_to_6d"], atol=1e-6)
    leaf = vectors[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad((matrix_of_6d(leaf) * _t(pieces["rot6d/grad_weight"])).sum(), [leaf])
    np.testing.assert_allclose(gradient, pieces["rot6d/grad_vector0"], atol=1e-5)


def test_transform(pieces: dict[str, Any]) -> None:
    read = {k: _t(pieces[f"transform/{k}"]) for k in ("vertices", "rot6d", "translation", "scale")}
    moved = transform(read["vertices"], matrix_of_6d(read["rot6d"])[0], read["translation"], read["scale"])
    np.testing.assert_allclose(moved, pieces["transform/out"], atol=1e-5)


def test_camera_of_a_person_box(pieces: dict[str, Any]) -> None:
    for case in _under(pieces, "camera/"):
        focal, middle = crop_camera(tuple(pieces[f"camera/{case}/bbox_xywh"].astype(float)))
        np.testing.assert_allclose(focal, pieces[f"camera/{case}/focal"], rtol=1e-5)
        np.testing.assert_allclose(middle, pieces[f"camera/{case}/principal_point"], rtol=1e-5)


def test_soft_centroid(pieces: dict[str, Any]) -> None:
    mask = _t(pieces["centroid/mask"]).requires_grad_()
    centre = soft_centroid(mask)
    np.testing.assert_allclose(centre.detach(), pieces["centroid/out_row_col"], atol=1e-4)
    (gradient,) = torch.autograd.grad((centre - torch.tensor([3.0, 4.0])).square().sum(), [mask])
    np.testing.assert_allclose(gradient, pieces["centroid/grad_of_squared_distance_to_3_4"], atol=1e-4)
    np.testing.assert_allclose(soft_centroid(torch.zeros(mask.shape)), pieces["centroid/empty_out"], atol=1e-6)


def test_alignment(pieces: dict[str, Any]) -> None:
    X, Y = (pieces[f"alignment/{k}"].astype(np.float64) for k in "XY")
    mirrored = Y * [-1, 1, 1]
    weights = pieces["alignment/weights"].astype(np.float64)
    for i in range(len(X)):
        made = {
            "plain": align(X[i], Y[i]),
            "scale": align(X[i], Y[i], scale=True),
            "weights_scale": align(X[i], Y[i], weights[i], scale=True),
            "reflection_data": align(X[i], mirrored[i]),
            "reflection_allowed": align(X[i], mirrored[i], reflect=True),
        }
        for name, found in made.items():
            for axis, key in enumerate("RTs"):
                expected = pieces[f"alignment/{name}/{key}"][i]
                np.testing.assert_allclose(np.asarray(found[axis]), expected, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("setting", ICP_SETTINGS)
def test_registration(pieces: dict[str, Any], setting: str) -> None:
    for case in _under(pieces, "icp/"):
        read = {k: v.astype(np.float64) for k, v in pieces.items() if k.startswith(f"icp/{case}/") and v.ndim}
        a, m, b, n = (read[f"icp/{case}/{k}"] for k in ("obj_points", "obj_normals", "hum_points", "hum_normals"))
        begin = read[f"icp/{case}/init_R"][0], read[f"icp/{case}/init_T"][0], float(read[f"icp/{case}/init_s"][0])
        if setting == "no_init":
            begin = np.eye(3), np.zeros(3), 1.0
        found = register(a, m, b, n, begin, scale=setting.startswith("scale") or setting == "loose")
        there = f"icp/{case}/{setting}"
        for ours, key in ((found.R, "R"), (found.T, "T"), (found.s, "s"), (found.rmse, "rmse")):
            np.testing.assert_allclose(ours, read[f"{there}/{key}"][0], atol=1e-4, err_msg=f"{there}/{key}")
        np.testing.assert_allclose(found.moved, read[f"{there}/moved_points"][0], atol=1e-4)
        np.testing.assert_allclose(found.R, read[f"{there}/history_R"][-1], atol=1e-4)
        assert found.rounds == int(pieces[f"{there}/iterations"]) == len(read[f"{there}/history_R"])


def test_contact_loss(pieces: dict[str, Any]) -> None:
    on_object, on_body, p, q = (_t(pieces[f"contact_loss/{k}"]) for k in ("obj", "hum", "obj_prob", "hum_prob"))
    on_object.requires_grad_()
    loss = all_pairs_contact(on_object, on_body, p, q)
    np.testing.assert_allclose(loss.item(), pieces["contact_loss/value"], atol=1e-5)
    (gradient,) = torch.autograd.grad(loss, [on_object])
    np.testing.assert_allclose(gradient, pieces["contact_loss/grad_obj"], atol=1e-5)


def test_mask_loss(pieces: dict[str, Any]) -> None:
    drawn, target = _t(pieces["mask_loss/current"]).requires_grad_(), _t(pieces["mask_loss/target"])
    loss = half_dice(drawn, target)
    np.testing.assert_allclose(loss.item(), pieces["mask_loss/value"], atol=1e-5)
    (gradient,) = torch.autograd.grad(loss, [drawn])
    np.testing.assert_allclose(gradient, pieces["mask_loss/grad"], atol=1e-5)
    np.testing.assert_allclose(half_dice(target, target), pieces["mask_loss/perfect_value"], atol=1e-6)
    np.testing.assert_allclose(half_dice(torch.zeros_like(target), target), pieces["mask_loss/empty_value"], atol=1e-6)


# -------------------------------------------------------------------------------------------------------- whole fits
def _problem(scene: dict[str, Any]) -> BaselineProblem:
    height, width = (int(v) for v in scene["image_size"])
    focal, middle = crop_camera(tuple(scene["human_bbox_xywh"].astype(float)))
    np.testing.assert_allclose(focal, scene["focal"], rtol=1e-5)
    np.testing.assert_allclose(middle, scene["principal_point"], rtol=1e-5)
    K = np.array([[focal[0], 0, middle[0]], [0, focal[1], middle[1]], [0, 0, 1.0]])
    mask = scene["object_mask"] > 0
    return BaselineProblem(
        Camera(K, width, height), mask, np.zeros_like(mask), Mesh(scene["human_vertices"], scene["human_faces"]),
        Mesh(scene["object_vertices"], scene["object_faces"]), scene["human_contact"], scene["object_contact"],
        scale_prior=(0.0, 0.0),
    )  # fmt: skip


def _config(run: str, renderer: Renderer) -> InteractvlmConfig:
    """Our settings from the configuration that the published code ran with."""
    given = values("optim/notes")["fit"][run]["config"]
    icp, weights = given["init"]["icp"], given["loss_weights"]
    filtered = icp["filter_contacts"]
    return InteractvlmConfig(
        iterations=given["max_iter"],
        mask_weight=weights["mask_loss"]["w"],
        centroid_weight=weights["centroid_loss"]["w"],
        contact_weight=weights["contact_loss"]["w"],
        registration=icp["run"],
        facing_degrees=tuple(filtered[1:]) if filtered[0] and icp["run"] else (),
        register_scale=icp["est_scale"],
        free_scale="scale" in given["vars"],
        renderer=renderer,
    )


def test_loading_centres_both_meshes(scene: dict[str, Any]) -> None:
    prepared = prepare(_problem(scene), _config("default", soft_raster))
    for ours, key in [
        (prepared.offset, "hum_centroid_offset"),
        (prepared.body.verts, "human_vertices"),
        (prepared.body.vert_normals, "human_normals"),
        (prepared.obj.verts, "obj_vertices"),
        (prepared.obj.vert_normals, "obj_normals"),
    ]:
        np.testing.assert_allclose(ours, scene[f"prepared/{key}"], atol=1e-5, err_msg=key)
    assert np.array_equal(UPRIGHT, np.diag([1, -1, -1]))


@pytest.mark.parametrize("run", RUNS)
def test_start(scene: dict[str, Any], run: str) -> None:
    problem, config = _problem(scene), _config(run, soft_raster)
    prepared = prepare(problem, config)
    np.testing.assert_allclose(prepared.object_contact, scene[f"{run}/object_contact_used"], atol=1e-6)
    if f"{run}/icp_init_T" in scene:
        begin = start_translation(problem, prepared, config)
        np.testing.assert_allclose(begin, scene[f"{run}/icp_init_T"][0], atol=1e-5)
    params = start(problem, prepared, config)
    np.testing.assert_allclose(params.rotation.detach(), scene[f"{run}/rotation6d"][0], atol=1e-4)
    np.testing.assert_allclose(params.translation.detach(), scene[f"{run}/translation"][0], atol=1e-4)
    np.testing.assert_allclose(params.scale.detach(), scene[f"{run}/scale"][0])


def _renderer(name: str) -> Renderer:
    if name == "ours":
        pytest.importorskip("warp")
        return soft_raster
    pytest.importorskip("pytorch3d")

    def pytorch3d(
        verts_cam: torch.Tensor, faces: torch.Tensor, K: torch.Tensor, size: tuple[int, int], *, sigma: float = 1e-4
    ) -> torch.Tensor:
        return soft_silhouette(verts_cam, faces, K, size, sigma=sigma, faces_per_pixel=100)

    return pytorch3d


def _losses_at(scene: dict[str, Any], run: str, prepared: Prepared, config: InteractvlmConfig, index: int) -> Step:
    params = Params(*(_t(scene[f"{run}/{k}"][index]) for k in ("rotation6d", "translation", "scale")))
    return evaluate(prepared, params, config)


@pytest.mark.parametrize("renderer", ["pytorch3d", "ours"])
@pytest.mark.parametrize("run", RUNS)
def test_losses_at_recorded_parameters(scene: dict[str, Any], run: str, renderer: str) -> None:
    config = _config(run, _renderer(renderer))
    prepared = prepare(_problem(scene), config)
    for index, which in ((0, "first"), (len(scene[f"{run}/total_loss"]) - 1, "last")):
        step = _losses_at(scene, run, prepared, config, index)
        np.testing.assert_allclose(step.silhouette, scene[f"{run}/silhouette_{which}"], atol=1e-3)
        np.testing.assert_allclose(step.centroid, scene[f"{run}/mask_centroid"][index], atol=1e-2)
        for ours, name in ((step.mask, "mask"), (step.centre, "centroid"), (step.contact, "contact")):
            np.testing.assert_allclose(ours.item(), scene[f"{run}/weighted_{name}_loss"][index], atol=1e-3)


@pytest.mark.parametrize(("run", "renderer"), [("default", "pytorch3d"), *((run, "ours") for run in RUNS)])
def test_whole_descent(scene: dict[str, Any], run: str, renderer: str) -> None:
    problem, config = _problem(scene), _config(run, _renderer(renderer))
    prepared = prepare(problem, config)
    totals: list[float] = []
    params, used = descend(prepared, start(problem, prepared, config), config, lambda s: totals.append(s.total.item()))
    assert used == values("optim/notes")["fit"][run]["iterations"] == len(totals)
    np.testing.assert_allclose(totals, scene[f"{run}/total_loss"], atol=3e-3)
    assert params.rotation.isfinite().all()
