"""The evidence tower, the front end's errors, and evidence of an observation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hoirecon.arrays import FloatArray
from hoirecon.camera import Camera
from hoirecon.contact.inference.evidence import Evidence, evidence_of
from hoirecon.contact.modeling.evidence_tower import (
    EvidenceConfig,
    EvidenceTower,
    landmark_features,
    pack,
    picture_scale,
    unpack,
)
from hoirecon.contact.training.baselines import mirrored_features
from hoirecon.contact.training.front_end import MIRRORED, FrontEnd, mirror, spoilt
from hoirecon.errors import InputError
from hoirecon.observation import Keypoints, Observation

CONFIG = EvidenceConfig(hidden_size=16, intermediate_size=16, num_layers=1, num_heads=2)


def landmarks(seed: int = 0) -> torch.Tensor:
    points = torch.randn(1, 33, 6, generator=torch.Generator().manual_seed(seed)) * 0.3
    points[..., 2:4] = points[..., :2] * 2  # a metre is half of the square's half
    points[..., 5] = 0.9
    return points


def masks(row: int = 10, column: int = 50) -> torch.Tensor:
    drawn = torch.zeros(1, 3, 64, 64)
    drawn[0, 1, row, column] = 1
    return drawn


def test_packing_is_undone() -> None:
    points, drawn = unpack(pack(landmarks(), masks()), CONFIG)
    torch.testing.assert_close(points, landmarks())
    torch.testing.assert_close(drawn, masks())
    with pytest.raises(InputError, match="pack it for this model"):
        unpack(torch.zeros(1, 5), CONFIG)


def test_features_say_where_the_nearest_pixel_of_the_object_is() -> None:
    points = landmarks()
    points[0, 0, :2] = torch.tensor([0.4, -0.5])
    told = landmark_features(points, masks())
    pixel = torch.tensor([(50 + 0.5) / 32 - 1, (10 + 0.5) / 32 - 1])
    scale = picture_scale(points[..., :2], points[..., 2:5], torch.ones(1, 33, 1))
    expected = (pixel - points[0, 0, :2]) / scale
    torch.testing.assert_close(told[0, 0, 7:9], 2 * expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(told[0, 0, 9], expected.norm(), rtol=1e-4, atol=1e-4)


def test_the_scale_of_a_flat_person_is_exact() -> None:
    points = landmarks()
    scale = picture_scale(points[..., :2], points[..., 2:5], torch.ones(1, 33, 1))
    torch.testing.assert_close(scale, torch.tensor([0.5]))


def test_unknown_landmarks_tell_nothing() -> None:
    points = landmarks()
    points[0, 4, 5] = 0
    assert (landmark_features(points, masks())[0, 4] == 0).all()


def test_the_tower_gives_one_vector_a_landmark_and_has_gradients() -> None:
    tower = EvidenceTower(CONFIG)
    out = tower(pack(landmarks(), masks()))
    assert out.shape == (1, CONFIG.num_patches, 16) == (1, 33 + 16, 16)
    out.sum().backward()
    assert all(p.grad is not None for p in tower.parameters())


def test_a_mirror_of_a_mirror_is_the_picture_and_features_turn_with_it() -> None:
    packed = pack(landmarks(), masks())
    once = mirror(packed, torch.tensor([True]), CONFIG)
    torch.testing.assert_close(mirror(once, torch.tensor([True]), CONFIG), packed)
    told, turned = (landmark_features(*unpack(p, CONFIG)) for p in (packed, once))
    torch.testing.assert_close(turned[:, torch.as_tensor(MIRRORED)][..., 9], told[..., 9], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(turned[:, torch.as_tensor(MIRRORED)][..., 7], -told[..., 7], rtol=1e-4, atol=1e-4)
    again = mirrored_features(told.flatten(1).numpy())
    np.testing.assert_allclose(again, turned.flatten(1).numpy(), rtol=1e-3, atol=1e-4)


def test_the_front_ends_errors_grow_with_the_noise_and_are_none_without() -> None:
    from hoirecon.contact.training.closedworld_data import draw_samples

    samples = draw_samples("val", 11, 4)
    rows = np.arange(len(samples))

    def points(noise: float) -> FloatArray:
        how = FrontEnd(noise=noise, dropped=0.0, swapped=0.0)
        return unpack(spoilt(samples, rows, np.random.default_rng(1), how), EvidenceConfig())[0].numpy()

    np.testing.assert_allclose(points(0.0)[..., :2], samples.xy, atol=1e-6)
    one, two = (np.abs(points(n)[..., :2] - samples.xy).mean() for n in (1.0, 2.0))
    assert 0 < one < two
    np.testing.assert_allclose(two, 2 * one, rtol=1e-3)


# ------------------------------------------------------------------------------------------------------- an observation
def observation(objects: int = 1) -> Observation:
    image = np.zeros((120, 160, 3), dtype=np.uint8)
    person, thing = np.zeros((120, 160), dtype=bool), np.zeros((120, 160), dtype=bool)
    person[20:100, 60:90], thing[50:70, 85:110] = True, True
    rng = np.random.default_rng(0)
    xyz = rng.standard_normal((33, 3)) * 0.3
    points = Keypoints("blazepose33", np.array([75.0, 60.0]) + 40 * xyz[:, :2], np.full(33, 0.9), xyz)
    return Observation(image, Camera.from_focal(200.0, 160, 120), person, (thing,) * objects, keypoints=points)


def test_evidence_of_an_observation_keeps_proportions() -> None:
    packed = Evidence.of(observation()).packed(EvidenceConfig())
    told, drawn = unpack(packed[None], EvidenceConfig())
    spread = told[0, :, :2] - told[0, :, :2].mean(0)
    metres = told[0, :, 2:4] - told[0, :, 2:4].mean(0)
    ratio = (spread / metres).median()
    torch.testing.assert_close(spread, ratio * metres, rtol=1e-3, atol=1e-4)
    assert drawn[0, 1].sum() > 20
    assert (drawn[0, 0] * drawn[0, 1]).sum() == 0


def test_masks_of_other_sizes_are_other_evidence() -> None:
    """Looks are kept by this key; masks that are true everywhere have the same bytes upright and lying."""
    seen = observation()
    packed, keys = [], set()
    for height, width in ((120, 160), (160, 120)):
        image, camera = np.zeros((height, width, 3), np.uint8), Camera.from_focal(200.0, width, height)
        whole = Observation(image, camera, None, (np.ones((height, width), bool),), keypoints=seen.keypoints)
        packed.append(Evidence.of(whole).packed(EvidenceConfig()))
        keys.add(Evidence.of(whole).key)
    assert not torch.equal(*packed)
    assert len(keys) == 2


def test_what_is_no_evidence_is_refused_with_advice() -> None:
    with pytest.raises(InputError, match="sees landmarks and masks"):
        evidence_of("photo.jpg")
    with pytest.raises(InputError, match="say which"):
        evidence_of(observation(objects=2))
    with pytest.raises(InputError, match="no object 3"):
        Evidence.of(observation(), 3)
    without = observation().replace(keypoints=None)
    with pytest.raises(InputError, match="blazepose33"):
        Evidence.of(without)
    flat = Keypoints("blazepose33", np.zeros((33, 2)), np.ones(33))
    with pytest.raises(InputError, match="3D"):
        Evidence.of(observation().replace(keypoints=flat))
