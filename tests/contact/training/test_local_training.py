"""Training with a local head, and with shape for objects: losses of drawn vertices, glances, resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hoirecon.contact.estimator import InteractVLM
from hoirecon.contact.inference.evidence import Evidence
from hoirecon.contact.inference.queries import Query
from hoirecon.contact.training.body_places import learn_places
from hoirecon.contact.training.closedworld_data import Samples, draw_samples, draw_seen
from hoirecon.contact.training.engine import EngineConfig
from hoirecon.contact.training.lessons import LessonConfig
from hoirecon.contact.training.tiny import TinySize
from hoirecon.contact.training.tiny_run import TinyRun, engine_of, new_model
from hoirecon.contact.training.vertex_losses import QuickWeights, direct_loss, local_loss, vertex_chances
from hoirecon.contact_map import ContactMap
from hoirecon.data.objects import load_object
from hoirecon.evaluation.closedworld.small_model import observation_of

SIZE = TinySize(hidden=16, layers=1, tower_layers=1, heads=2, prompt=8, sam_layers=1, view_side=96, local_head=True,
                shape=True)  # fmt: skip
RUN = TinyRun(shards=1, engine=EngineConfig(steps=4, checkpoint_every=2, warmup=1), size=SIZE,
              lessons=LessonConfig(batch=3, glances=1, masked=1, things=2, things_masked=1, heard=40))  # fmt: skip


@pytest.fixture(scope="module")
def samples() -> Samples:
    return draw_samples("val", 11, 3)


def test_drawn_vertices_speak_for_all() -> None:
    rng, torch_rng = np.random.default_rng(0), torch.Generator().manual_seed(0)
    area = torch.rand(3000, generator=torch_rng).square() + 0.01
    area = area / area.sum()
    contact = torch.zeros(2, 3000)
    contact[0, :400] = contact[1, 900:2500] = 1
    logits = 2 * contact - 1.5 + torch.randn(2, 3000, generator=torch_rng)
    chances = vertex_chances(area).double().numpy()
    weights, found = QuickWeights(), []
    for _ in range(200):
        verts = torch.as_tensor(rng.choice(3000, 200, replace=False, p=chances / chances.sum()))
        found.append(float(local_loss(logits[:, verts], contact, verts, area, weights)))
    assert np.mean(found) == pytest.approx(float(direct_loss(logits, contact, area, weights)), rel=0.02)
    torch.testing.assert_close(
        local_loss(logits, contact, None, area, weights), direct_loss(logits, contact, area, weights)
    )


def test_glances_teach_both_heads_and_objects_and_a_killed_run_ends_in_the_same_bits(
    samples: Samples, tmp_path: Path
) -> None:
    whole = new_model(RUN)
    engine = engine_of(RUN, whole, samples, tmp_path / "whole")
    found = engine.losses(0)
    assert set(found) == {"distance", "parts", "direct", "local", "places"}
    assert whole.network.local_head is not None
    assert whole.network.local_head.place.abs().sum() > 0
    assert {"words", "direct", "local", "vertices", "dice", "places", "objects"} <= set(engine.losses(1))
    before = {name: p.detach().clone() for name, p in whole.network.named_parameters()}
    engine.run(until=1, tell=lambda _: None)
    moved = {n.split(".")[0] for n, p in whole.network.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"vlm", "look_back", "vertex_head", "local_head", "object_head"}
    engine.run(tell=lambda _: None)
    again = None
    for until in (2, None):
        again = new_model(replace(RUN))
        engine_of(RUN, again, samples, tmp_path / "cut").run(until=until, tell=lambda _: None)
    assert again is not None
    pairs = zip(whole.network.state_dict().items(), again.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for (_, a), b in pairs)


def test_saved_in_half_precision_it_answers_nearly_as_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seen = next(s for s in draw_seen("val", 21, 50) if s.scene.objects[s.which].touched.sum() > 100)
    evidence, mesh = Evidence.of(observation_of(seen, rng)), load_object(seen.scene.objects[seen.which].object_id).mesh
    made = new_model(RUN)
    network = made.network
    assert network.local_head is not None
    learn_places(network.local_head)
    with torch.no_grad():
        network.local_head.out.weight.mul_(20.0)  # so that it is heard
    network.config = replace(network.config, direct_share=1.0, object_share=1.0)
    human = Query("human", evidence, "chair", answer="It is {token}.")
    thing = Query("object", evidence, "chair", mesh=mesh, answer="It is {token}.")
    before = InteractVLM(network, made.tokenizer, cache=None).ask([human, thing])
    InteractVLM(network.half(), made.tokenizer, cache=None, label="small").save_pretrained(tmp_path / "saved")
    after = InteractVLM.from_pretrained(tmp_path / "saved", cache=None, dtype="float32").ask([human, thing])
    for old, new in zip(before, after, strict=True):
        assert isinstance(old, ContactMap)
        assert isinstance(new, ContactMap)
        np.testing.assert_allclose(new.probability, old.probability, atol=0.02)
    assert np.ptp(before[0].probability) > 0.1  # type: ignore[union-attr]
