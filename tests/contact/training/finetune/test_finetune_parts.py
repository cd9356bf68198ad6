"""What learns and what does not, schedules, weighing, starts and their errors; all without a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hoirecon.contact.checkpoints.assembly import empty_network
from hoirecon.contact.checkpoints.keys import to_released
from hoirecon.contact.checkpoints.native import save_network
from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.contact.modeling.lora import LoraSettings
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.toy import toy_config, toy_network
from hoirecon.contact.training.finetune.checkpoints import Checkpoints, RunState
from hoirecon.contact.training.finetune.data import roots_of, wanted
from hoirecon.contact.training.finetune.engine import _Board
from hoirecon.contact.training.finetune.memory import (
    TrainingMemory,
    check_training_memory,
    training_memory,
)
from hoirecon.contact.training.finetune.run import Prepared
from hoirecon.contact.training.finetune.settings import FinetuneConfig
from hoirecon.contact.training.finetune.start import Wanted, load_start, plan_start
from hoirecon.contact.training.finetune.trainable import choose_trained, keep_in_full, part_counts, trained
from hoirecon.contact.training.finetune.validation import score
from hoirecon.contact.training.finetune.weighing import PARTS, StepModule, counts_of
from hoirecon.contact.training.losses import LossConfig
from hoirecon.contact.training.public.lessons import Lesson
from hoirecon.contact.training.public.recipes import RECIPES
from hoirecon.errors import InputError
from tests.contact.training.finetune.toy_run import shared_folder, toy_run, write_toy_start


def chosen(token_type: str = "Gen-Hu-Obj", **changes: Any) -> InteractVLMNetwork:
    network = toy_network(toy_config("tiny", token_type, 400, **changes))
    choose_trained(network, LoraSettings())
    return network


# ------------------------------------------------------------------------------------------- what learns and what not
def test_what_is_trained_is_the_recipes_list() -> None:
    """By released names, as the published recipe lists them; everything else is frozen."""
    network = chosen(separate_decoders=True, fusion=True, uncertainty=True)
    layers = network.config.language.num_layers
    updates = {
        f"model.layers.{i}.self_attn.{which}.lora_{half}.default.weight"
        for i in range(layers)
        for which in ("q_proj", "v_proj")
        for half in "AB"
    }
    whole = (
        "lm_head.",
        "model.embed_tokens.",
        "model.text_hidden_fcs.",
        "model.visual_model.mask_decoder.",
        "model.visual_model.human_mask_decoder.",
        "model.visual_model.object_mask_decoder.",
        "model.visual_model.fusion.",
        "model.visual_model.uncertainty.",
        "attention_splitter.",
        "cam_pose_encoder.",
    )
    learns: set[str] = set()
    rests: set[str] = set()
    for name, parameter in network.named_parameters():
        (learns if parameter.requires_grad else rests).add(to_released(name))
    assert {name for name in learns if "lora_" in name} == updates
    rest = learns - updates
    assert all(name.startswith(whole) for name in rest)
    assert all(any(name.startswith(start) for name in rest) for start in whole)
    assert not [name for name in rests if name.startswith(whole)]
    frozen = ("model.layers.", "model.norm.", "model.mm_projector.", "model.visual_model.image_encoder.",
              "model.visual_model.prompt_encoder.", "vlm.vision_tower.")  # fmt: skip
    assert all(name.startswith(frozen) for name in rests)
    assert all(any(name.startswith(start) for name in rests) for start in frozen)


def test_the_published_network_trains_what_its_sizes_say() -> None:
    """Counted by hand for 13B: updates 40 x 2 x 8 x 2 x 5120, words 2 x 32003 x 5120, projection, FeatLift, decoder."""
    network = empty_network(NetworkConfig())
    choose_trained(network, LoraSettings())
    counts = {c.part: c.numbers for c in part_counts(network) if c.trained}
    assert counts["LoRA"] == 40 * 2 * (8 * 5120 + 5120 * 8)
    assert counts["words (embeddings and head)"] == 2 * 32003 * 5120
    assert counts["token projection"] == 5120 * 5120 + 5120 + 5120 * 256 + 256
    assert counts["FeatLift"] == 5 * 128 + 128 + 128 * 128 + 128 + 4 * (128 * 256 + 256)
    frozen = sum(c.numbers for c in part_counts(network) if not c.trained)
    assert 13.2e9 < frozen < 14.2e9  # LLaMA's layers, SAM's and CLIP's encoders
    need = training_memory(network, FinetuneConfig(), torch.bfloat16)
    assert need.frozen == 2 * frozen
    assert need.optimizer == 2 * need.trained == 2 * 4 * sum(counts.values())


def test_what_is_trained_is_kept_in_full_and_the_rest_computes_in_halves() -> None:
    network = chosen().to(torch.bfloat16)
    keep_in_full(network, torch.bfloat16)
    assert {p.dtype for p in trained(network).values()} == {torch.float32}
    assert {p.dtype for p in network.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert network.vlm.embed_ids(torch.tensor([3])).dtype == torch.bfloat16


# ----------------------------------------------------------------------------------------------------------- settings
def test_the_schedule_by_hand() -> None:
    config = FinetuneConfig()
    assert config.rate_at(0) == pytest.approx(3e-6)
    assert config.rate_at(99) == pytest.approx(3e-4)
    assert config.rate_at(100) == pytest.approx(3e-4)
    assert config.rate_at(7550) == pytest.approx(1.5e-4)
    assert config.rate_at(14999) == pytest.approx(3e-4 / 14900)
    assert max(config.rate_at(k) for k in range(15000)) == pytest.approx(3e-4)


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in (
        {"steps": 0},
        {"batch": 0},
        {"rate": 0.0},
        {"betas": (1.0, 0.9)},
        {"precision": "fp8"},
        {"faults": "none"},
        {"seed": -1},
        {"warmup": float("nan")},
        {"weight_decay": float("nan")},
        {"betas": (0.9,)},
        {"steps": 2.5},
    ):
        with pytest.raises(InputError):
            FinetuneConfig(**wrong)


# ------------------------------------------------------------------------------------------------------------ weighing
def test_passes_weighed_by_their_counts_are_one_large_pass() -> None:
    """Texts of other lengths and kinds: a mean of the means would be another number."""
    prepared = Prepared(toy_run(shared_folder(), batch=5))
    network = prepared.network("cpu")
    module = StepModule(network, LossConfig.of(network.config)).eval()
    samples = prepared.lessons(network).batch(0)
    words_only = replace(samples[0], target=None, features=None)
    batch = [*samples[:3], words_only, samples[3]]
    whole, ones = counts_of(batch), torch.ones(len(PARTS))
    assert whole.tolist() == [whole[0], 4, 4, 0, 4, 0, 0]
    large = module(batch, ones)
    large.sum().backward()
    gradients = {name: p.grad.clone() for name, p in trained(network).items() if p.grad is not None}
    network.zero_grad()
    total = torch.zeros(len(PARTS))
    for part in (batch[:1], batch[1:4], batch[4:]):
        values = module(part, counts_of(part) / whole.clamp(min=1))
        values.sum().backward()
        total += values.detach()
    torch.testing.assert_close(total, large.detach(), rtol=1e-5, atol=1e-6)
    norm = torch.stack([g.norm() for g in gradients.values()]).norm()
    for name, parameter in trained(network).items():
        if name in gradients:
            assert parameter.grad is not None
            assert float((parameter.grad - gradients[name]).norm() / norm) < 1e-5, name
    means = [module([s], ones).detach()[0] for s in batch]
    assert float(torch.stack(means).mean()) != pytest.approx(float(large.detach()[0]), rel=1e-3)


# -------------------------------------------------------------------------------------------------------------- starts
def test_lisas_weights_lack_what_is_drawn_anew(tmp_path: Path) -> None:
    folder = write_toy_start(tmp_path / "lisa")
    plan = plan_start(folder, Wanted("Gen", "4MV-Z_Vitru_mv2"))
    assert plan.is_base
    assert plan.new_words == 0
    assert all(name.startswith("feat_lift.") for name in plan.new)
    assert (plan.config.camera_encoder, plan.config.human_views) == ("vi_v1", "4MV-Z_Vitru_mv2")
    assert (plan.config.human_weight, plan.config.object_weight) == (3.0, 0.0)
    network = load_start(plan, seed=3)
    for name in plan.new:
        value = network.state_dict()[name]
        if name.endswith("bias"):
            assert not value.any()
        else:
            assert float(value.std()) == pytest.approx(0.02, rel=0.35)
    theirs = toy_network(toy_config("tiny", "Gen", plan.config.language.vocab_size)).state_dict()
    for name, value in network.state_dict().items():
        if name not in plan.new:
            assert torch.equal(value, theirs[name]), name
    again = load_start(plan_start(folder, Wanted("Gen")), seed=3)
    other = load_start(plan_start(folder, Wanted("Gen")), seed=4)
    name = "feat_lift.view_transforms.2.weight"
    assert torch.equal(again.state_dict()[name], network.state_dict()[name])
    assert not torch.equal(other.state_dict()[name], network.state_dict()[name])


def test_joint_models_get_two_words_and_a_splitter(tmp_path: Path) -> None:
    folder = write_toy_start(tmp_path / "lisa")
    plan = plan_start(folder, Wanted("Gen-Hu-Obj", object=True))
    assert plan.new_words == 2
    assert any(name.startswith("attention_splitter.") for name in plan.new)
    rows = plan.config.language.vocab_size
    assert (plan.config.tokens.human, plan.config.tokens.object) == (rows - 2, rows - 1)
    network = load_start(plan)
    table = network.vlm.language_model.get_input_embeddings().weight
    theirs = toy_network(toy_config("tiny", "Gen", rows - 2)).vlm.language_model.get_input_embeddings().weight
    assert torch.equal(table[:-2], theirs)
    assert float(table[-2:].detach().std()) == pytest.approx(0.02, rel=0.3)
    assert plan.tokenizer.decode([rows - 1]) == "[OSEG]"


def test_interactvlms_weights_are_taken_whole(tmp_path: Path) -> None:
    released = write_toy_start(tmp_path / "released", "Gen-Hu-Obj", lisa=False)
    plan = plan_start(released, Wanted("Gen"))
    assert not plan.new
    assert not plan.is_base
    assert plan.config.tokens.token_type == "Gen-Hu-Obj"  # weights that have more words keep them
    network = load_start(plan)
    save_network(network, tmp_path / "ours", tokenizer_folder=released)
    ours = load_start(plan_start(tmp_path / "ours", Wanted("Gen")))
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in ours.state_dict().items())


def test_a_vocabulary_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_toy_start(tmp_path / "lisa")
    added = json.loads((folder / "added_tokens.json").read_text())
    (folder / "added_tokens.json").write_text(json.dumps({**added, "[MORE]": max(added.values()) + 1}))
    with pytest.raises(InputError, match=r"tokenizer in .* has \d+ words, the weights have rows for \d+"):
        plan_start(folder, Wanted("Gen"))
    (folder / "tokenizer.model").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.model"):
        plan_start(folder, Wanted("Gen"))


def test_weights_that_cannot_be_taught_contact_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reads landmarks, not photographs"):
        plan_start(Path(__file__).parents[4] / "contact" / "assets" / "tiny", Wanted("Gen"))
    with pytest.raises(InputError, match="is no folder"):
        plan_start(tmp_path / "nowhere", Wanted("Gen"))


# ---------------------------------------------------------------------------------------------------------------- data
def test_folders_as_users_type_them(tmp_path: Path) -> None:
    for name in ("damon", "lemon", "pico", "piad", "vqa"):
        (tmp_path / name).mkdir()
    assert roots_of("damon", [str(tmp_path)]) == {"damon": tmp_path}
    assert roots_of("joint", [str(tmp_path)])["pico"] == tmp_path / "pico"
    assert set(roots_of("all", [f"damon={tmp_path / 'damon'}", f"vqa={tmp_path / 'vqa'}"])) == {"damon", "vqa"}
    for given, said in (
        ([], "give --data"),
        ([str(tmp_path / "none")], "does not exist"),
        ([f"rich={tmp_path}"], "has no data set 'rich'"),
        ([str(tmp_path), str(tmp_path)], "need the names"),
    ):
        with pytest.raises(InputError, match=said):
            roots_of("damon", given)
    with pytest.raises(InputError, match="needs the folder of lemon"):
        roots_of("joint", [f"damon={tmp_path}"])
    with pytest.raises(InputError, match="no recipe 'nothing'"):
        roots_of("nothing", ["x"])


def test_all_takes_the_data_that_are_there() -> None:
    of = RECIPES["all"].of(["damon", "refcoco"])
    assert of.data == ("damon", "refcoco")
    assert [rate for rate, _ in of.shares] == [9.0, 2.0]
    asked = wanted("all", {"damon": "x"})
    assert (asked.human, asked.object, asked.token_type) == (True, False, "Gen-Hu-Obj")


def test_labels_on_people_need_a_body(tmp_path: Path) -> None:
    run = toy_run(tmp_path)
    (tmp_path / "damon" / "standin.json").unlink()
    with pytest.raises(InputError, match="--body SMPLH_FILE"):
        _ = Prepared(run).data


# -------------------------------------------------------------------------------------------------------------- memory
def test_too_little_memory_says_what_is_missing() -> None:
    gigabyte = 10**9
    small = TrainingMemory(10, 10, 10, 10, 10, 10)
    check_training_memory(small, "cpu")
    with pytest.raises(InputError, match=r"needs 1e\+06 GB for weights.* are free on cpu"):
        check_training_memory(replace(small, frozen=10**6 * gigabyte), "cpu")
    with pytest.raises(InputError, match="lower --batch and raise --accumulate"):
        check_training_memory(replace(small, masks=10**6 * gigabyte), "cpu")
    check_training_memory(replace(small, frozen=10**6 * gigabyte), "cpu", split=4)


def test_the_estimate_of_a_pass_is_of_the_right_size() -> None:
    """Against the bytes that autograd really keeps, each array once, weights left out."""
    run = toy_run(shared_folder(), batch=4)
    prepared = Prepared(run)
    network = prepared.network("cpu")
    samples = prepared.lessons(network).batch(0)
    module = StepModule(network, LossConfig.of(network.config)).train()
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        loss = module(samples, torch.ones(len(PARTS))).sum()
    estimate = training_memory(network, replace(run.config, checkpointing=False), torch.float32)
    ratio = (estimate.language + estimate.masks) / sum(kept.values())
    assert loss.isfinite()
    assert 0.5 < ratio < 2.5


# --------------------------------------------------------------------------------------------------------- checkpoints
def test_only_the_latest_checkpoints_stay(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, {"a": 1}, keep=2)
    for step in (2, 4, 6):
        kept.save(RunState(step=step), {"w": torch.full((2,), float(step))}, {})
    assert kept.steps() == [4, 6]
    found = kept.latest()
    assert found is not None
    assert found[0].step == 6
    with pytest.raises(InputError, match="a 1 in place of 2"):
        Checkpoints(tmp_path, {"a": 2}, keep=2).latest()
    (kept.path(6) / "optimizer.pt").write_bytes(b"x")
    with pytest.raises(InputError, match="missing or damaged"):
        kept.latest()


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    """Half a checkpoint goes; best weights that were just being replaced come back, the new ones if they are whole."""
    kept = Checkpoints(tmp_path, {}, keep=2)
    kept.save_best(RunState(step=2), {"w": torch.zeros(1)})
    (kept.folder / "best").rename(kept.folder / ".best-old-x")
    (kept.folder / ".step-000004-y").mkdir()
    kept.clear_leftovers()
    assert [path.name for path in kept.folder.iterdir()] == ["best"]
    found = kept.best()
    assert found is not None
    assert found[0].step == 2


def test_a_log_that_goes_on_keeps_the_last_step_before_it(tmp_path: Path) -> None:
    """Only what came after the checkpoint is written over; the checkpoint's own step is not logged again."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for begun, ended in ((0, 4), (2, 4)):
        with _Board(tmp_path, begun, True) as board:
            for step in range(begun + 1, ended + 1):
                board.write({"loss/total": 10.0 * begun + step}, step)
    read = events.EventAccumulator(str(tmp_path))
    read.Reload()
    assert [(e.step, e.value) for e in read.Scalars("loss/total")] == [(1, 1.0), (2, 2.0), (3, 23.0), (4, 24.0)]


# ---------------------------------------------------------------------------------------------------------- validation
def test_scores_by_hand() -> None:
    image = Path("x.jpg")
    human = Lesson("human", image, contact=np.array([1.0, 1, 0, 0]))
    assert score(human, np.array([0.9, 0.1, 0.8, 0.2])) == pytest.approx(0.5)
    assert score(human, None) == 0.0
    affordance = Lesson("affordance", image, contact=np.array([1.0, 0.0]))
    assert score(affordance, np.array([1.0, 0.0])) == pytest.approx(0.975)  # at threshold 0 all is predicted
    pixels = Lesson("image", image, mask=np.array([[1.0, 0.0, -1.0]]))
    assert score(pixels, np.array([[0.9, 0.1, 0.9]])) == 1.0
