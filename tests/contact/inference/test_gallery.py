"""Bodies and objects are drawn once and encoded once, and looked at as the network was trained to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from hoirecon.contact import InteractVLM
from hoirecon.contact.inference import gallery as module
from hoirecon.contact.inference.gallery import Gallery, Subject
from hoirecon.contact.modeling.feat_lift import normalize_cameras
from hoirecon.contact.rendering.types import PixelMaps, PointMaps, RenderedViews
from hoirecon.contact.rendering.view_cache import ViewCache
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from hoirecon.contact.toy import toy_config, toy_model, toy_network
from hoirecon.errors import InputError
from tests.contact.toy_scene import ball


@pytest.fixture(scope="module")
def model() -> InteractVLM:
    return toy_model()


def _gallery(model: InteractVLM) -> Gallery:
    return Gallery(model.network, ZBufferRenderer())


def test_views_are_as_large_as_the_network_takes_them(model: InteractVLM) -> None:
    gallery, side = _gallery(model), model.network.config.sam.img_size
    for subject in (gallery.body(model.body_model), gallery.object(ball())):
        views = gallery.rendered(subject)
        assert views.images.shape == (4, side, side, 3)
        assert isinstance(views.maps, PixelMaps)
        assert views.maps.num_verts == len(subject.surface.verts)
        assert 0.02 < views.maps.foreground.mean() < 0.6
        features = gallery.features(subject)
        assert features.shape == (4, model.network.config.sam.out_chans, side // 16, side // 16)
        pictures = torch.as_tensor(views.images).permute(0, 3, 1, 2)
        assert torch.allclose(features, model.network.mv_loc.encode(pictures), atol=1e-5)


def test_cameras_are_told_as_trained(model: InteractVLM) -> None:
    gallery = _gallery(model)
    body = gallery.cameras(gallery.body(model.body_model))
    assert body is not None
    wanted = [[2, 45, 315, 0, 0], [2, 315, 315, 0, 0.3], [2, 45, 135, 0, 0], [2, 315, 135, 0, 0.3]]
    assert torch.allclose(body, normalize_cameras(torch.tensor(wanted)))
    thing = gallery.object(ball())
    numbers = gallery.cameras(thing)
    assert numbers is not None
    assert torch.allclose(numbers[:, 0], torch.tensor(0.2)), "told 2.0"
    assert thing.table.render_distance == 1.5, "drawn from 1.5"
    points = gallery.object(ball().verts)
    assert points.table.render_distance is None
    assert isinstance(gallery.rendered(points).maps, PointMaps)


def test_a_table_without_cameras() -> None:
    network = toy_network(toy_config(object_views="4MV-XY_Fix"))
    gallery = Gallery(network, ZBufferRenderer())
    assert gallery.cameras(gallery.object(ball())) is None


def test_a_table_of_another_number_of_views() -> None:
    gallery = Gallery(toy_network(toy_config(object_views="10MV-Z_HM")), ZBufferRenderer())
    with pytest.raises(InputError, match="10 views, but the network knows 4"):
        gallery.object(ball())


def test_same_shape_same_key(model: InteractVLM) -> None:
    gallery, mesh = _gallery(model), ball()
    key = gallery.object(mesh).key
    assert gallery.object(replace(mesh, name="other")).key == key
    assert gallery.object(ball(0.5)).key != key
    assert gallery.object(mesh.verts).key != key


def test_the_least_used_goes(model: InteractVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "THINGS_KEPT", 2)
    drawn: list[str] = []
    gallery = _gallery(model)
    original = gallery._draw

    def draw(subject: Subject) -> RenderedViews:
        drawn.append(subject.key)
        return original(subject)

    monkeypatch.setattr(gallery, "_draw", draw)
    a, b, c = (gallery.object(ball(height)) for height in (0.5, 0.7, 0.9))
    for subject in (a, b, a, c, a, b):
        gallery.rendered(subject)
    assert drawn == [a.key, b.key, c.key, b.key]
    gallery.forget()
    gallery.rendered(a)
    assert drawn[-1] == a.key


def test_features_that_came_with_the_weights_are_taken(model: InteractVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _gallery(model)
    subject = first.body(model.body_model)
    features = first.features(subject)
    monkeypatch.setattr(model.network.mv_loc, "encode", lambda *_: pytest.fail("encoded"))
    second = Gallery(model.network, ZBufferRenderer(), encoded={subject.key: features + 1})
    assert torch.equal(second.features(second.body(model.body_model)), features + 1)


def test_features_follow_the_encoders_weights() -> None:
    """A fine-tuned encoder in memory must not be asked, nor saved, with what it saw before."""
    model = toy_model()
    first = _gallery(model)
    subject = first.body(model.body_model)
    old = first.features(subject)
    beside = Gallery(model.network, ZBufferRenderer(), encoded={subject.key: old})
    hashed = Gallery(model.network, ZBufferRenderer(), encoded={first.named(subject.key): old})
    assert all(torch.equal(g.features(subject), old) for g in (beside, hashed))
    with torch.no_grad():
        next(model.network.mv_loc.image_encoder.parameters()).mul_(1.5)
    new = _gallery(model).features(subject)
    assert not torch.allclose(new, old)
    assert all(torch.equal(g.features(subject), new) for g in (first, beside, hashed))
    assert torch.equal(
        Gallery(model.network, ZBufferRenderer(), encoded={hashed.named(subject.key): old}).features(subject), old
    )


def test_kept_features_are_of_one_kind_of_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []

    def kept(views: str, encoder: str, encode: Callable[[], torch.Tensor], cache: ViewCache) -> torch.Tensor:
        keys.append(views)
        return encode()

    monkeypatch.setattr(module, "encode_once", kept)
    gallery = Gallery(toy_network(toy_config()), ZBufferRenderer(), ViewCache(tmp_path))
    gallery.features(gallery.object(ball()))
    assert keys[0].endswith("-torch.float32-cpu")


def test_batches_of_views_give_the_same(model: InteractVLM) -> None:
    found = [Gallery(model.network, ZBufferRenderer(), batch=n) for n in (1, 3, 4)]
    features = [gallery.features(gallery.object(ball())) for gallery in found]
    assert all(np.allclose(features[0], other, atol=1e-5) for other in features[1:])


def test_features_are_the_same_under_autocast() -> None:
    """Validation within a training runs under autocast; what it encodes first is kept for all that comes after."""
    gallery = Gallery(toy_network(toy_config()).to(torch.bfloat16), ZBufferRenderer())
    plain = gallery.features(gallery.object(ball()))
    gallery.forget()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = gallery.features(gallery.object(ball()))
    assert torch.equal(plain, within)


def test_two_threads_share_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One makes the next batch while the other validates: neither may lose what the other makes room for."""
    monkeypatch.setattr(module, "THINGS_KEPT", 2)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        kept = module._Kept[int]()

        def asked(seed: int) -> bool:
            keys = np.random.default_rng(seed).integers(6, size=40000).tolist()
            return all(kept.get(str(key), partial(int, key)) == key for key in keys)

        with ThreadPoolExecutor(2) as threads:
            assert all(threads.map(asked, range(2)))
    finally:
        sys.setswitchinterval(usual)
