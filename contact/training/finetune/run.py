"""One run from folders to a card: checks, weights, data, training, and what is left behind.

run = FinetuneRun(DataConfig("damon", {"damon": DAMON_DIR}, body=SMPLH_FILE), init=LISA_DIR, out="runs/damon")
print(dry_run(run))      # sizes, memory, one batch in words and as a picture; nothing is trained
finetune(run)            # InteractVLM.from_pretrained("runs/damon") then reads the result

Given again, the same run goes on from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from hoirecon.contact.checkpoints.assembly import empty_network
from hoirecon.contact.checkpoints.memory import dtype_name
from hoirecon.contact.inference.precision import choose_dtype
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.rendering.view_cache import ViewCache
from hoirecon.contact.training.finetune.card import CardFacts, card_text
from hoirecon.contact.training.finetune.checkpoints import TRAINED_FILE, read_trained
from hoirecon.contact.training.finetune.data import Data, DataConfig, open_data, sample_maker, wanted
from hoirecon.contact.training.finetune.engine import Finetuner, make_accelerator
from hoirecon.contact.training.finetune.memory import TrainingMemory, check_training_memory, training_memory
from hoirecon.contact.training.finetune.output import save_merged, save_trained
from hoirecon.contact.training.finetune.preview import batch_of, batch_picture, batch_text
from hoirecon.contact.training.finetune.settings import FinetuneConfig
from hoirecon.contact.training.finetune.start import Plan, load_start, plan_start, told
from hoirecon.contact.training.finetune.trainable import choose_trained, keep_in_full, part_counts, trained
from hoirecon.contact.training.finetune.validation import Validation
from hoirecon.contact.training.public.batches import TrainingSet, settings
from hoirecon.contact.training.public.mixing import Mixture
from hoirecon.errors import InputError, require
from hoirecon.files import atomic_file, check_replaceable, home_dir, read_json, write_json

RUN_FILE, CARD_FILE, PICTURE_FILE = "run.json", "card.md", "batch.png"
LISTS = "lessons"
"""Folder beside the views where lists of lessons are kept between runs."""
EPOCH_STEPS = 500
"""Steps of an epoch, as in the published recipe; it only sets when another order of data sets is drawn."""
PACKAGES = ("accelerate", "peft", "torch.utils.tensorboard")
"""What training needs besides the model's own."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class FinetuneRun:
    """What is trained on what, from where to where."""

    data: DataConfig
    init: Path
    """Weights to start from: LISA's folder, a released InteractVLM's, or one of ours."""
    out: Path
    """Folder of the run: checkpoints, logs, card, and the model."""
    config: FinetuneConfig = field(default_factory=FinetuneConfig)
    vision_tower: Path | None = None
    """Folder of CLIP's tower; None looks beside the weights and in the local cache."""
    device: Literal["auto", "cpu"] = "auto"
    """``auto`` takes each process's own graphics card where there is one."""
    merge: bool = True
    """Write the whole model into ``out`` at the end; without, only what was trained (the whole is as large as the
    start)."""
    command: str = ""
    """By which it was asked for; stands in the card."""
    views: Path | None = None
    """Folder where drawn and encoded views are kept; None takes the user's cache."""
    progress: bool = False
    """Show a bar with the time that is left."""


class Prepared:
    """A run whose input was looked at; everything that can be wrong was said, and no weight was read.

    Args:
        run: what to do.

    Raises:
        InputError: a folder, a vocabulary, a body, or memory that is missing; the message says what to do.
        MissingExtraError: a package is missing.
    """

    def __init__(self, run: FinetuneRun) -> None:
        self.run, roots = run, run.data.roots or {}
        for package in PACKAGES:
            require(package, extra="train")
        check_replaceable(run.out, RUN_FILE)
        self.wanted = wanted(run.data.recipe, roots)
        self.plan: Plan = plan_start(run.init, self.wanted, run.vision_tower)
        self.kind = "cuda" if run.device == "auto" and torch.cuda.is_available() else "cpu"
        self.dtype = self._dtype()
        self.sketch: InteractVLMNetwork = empty_network(self.plan.config)
        choose_trained(self.sketch, run.config.lora)
        self.memory: TrainingMemory = training_memory(self.sketch, run.config, self.dtype)

    def _dtype(self) -> torch.dtype:
        """As asked for; a run that goes on keeps what ``auto`` found first."""
        asked = self.run.config.precision
        path = self.run.out / RUN_FILE
        held = read_json(path) if path.is_file() else None
        kept = held.get("precision") if isinstance(held, dict) else None
        return choose_dtype(self.kind, kept if asked == "auto" and kept in ("bf16", "fp32") else asked)

    @cached_property
    def data(self) -> Data:
        """The data, opened."""
        given = self.run.data
        if given.lists is None:
            given = replace(given, lists=(self.run.views or home_dir() / "views").with_name(LISTS))
        return open_data(given)

    def network(self, device: torch.device | str) -> InteractVLMNetwork:
        """The network with its weights, its parts chosen and in their types; once only."""
        plan, config = self.plan, self.run.config
        if next(plan.empty.parameters()).device.type != "meta":  # an earlier call has filled it
            plan = plan_start(self.run.init, self.wanted, self.run.vision_tower)
        network = load_start(plan, device, self.dtype, config.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            choose_trained(network, config.lora)
        keep_in_full(network, self.dtype)
        return network

    def lessons(self, network: InteractVLMNetwork, rank: int = 0, world: int = 1) -> TrainingSet:
        """What the network is taught, for one of several processes."""
        config = self.run.config
        cache = ViewCache() if self.run.views is None else ViewCache(self.run.views)
        maker = sample_maker(self.data, network, self.plan.tokenizer, cache)
        size = config.batch * config.accumulate
        mixture = Mixture(self.data.shares, EPOCH_STEPS * size * world, config.seed)
        return TrainingSet(mixture, maker, size, rank, world)


def dry_run(run: FinetuneRun, picture: bool = True) -> str:
    """What a run would do: its sizes, memory and first batch, in words; the batch also as ``out/batch.png``.

    Weights of the image encoder are not needed for that, and none are read.
    """
    prepared = Prepared(run)
    data = prepared.data
    lessons = _sketch_lessons(prepared)
    samples = batch_of(lessons)
    text = [
        f"recipe {run.data.recipe}: {', '.join(source.name for source in data.sources)}",
        *(f"    {name}: {len_of} entries" for name, len_of in _entries(data)),
        f"start: {run.init}, new: {', '.join(prepared.plan.new) or 'nothing'}, {prepared.plan.new_words} new words",
        "",
        counts_text(prepared.sketch),
        "",
        f"memory of one device in {dtype_name(prepared.dtype)}, batch {run.config.batch}:",
        prepared.memory.text(),
        "",
        "first batch:",
        batch_text(lessons, samples),
    ]
    if picture:
        run.out.mkdir(parents=True, exist_ok=True)
        if not (run.out / RUN_FILE).is_file():  # a run that stands there still needs its own
            write_json(run.out / RUN_FILE, {"dry_run": True})
        batch_picture(lessons, samples, run.out / PICTURE_FILE)
        text += ["", f"picture: {run.out / PICTURE_FILE}"]
    return "\n".join(text)


def _sketch_lessons(prepared: Prepared) -> TrainingSet:
    """Lessons with pictures in place of features, which need no weights."""
    config = prepared.run.config
    cache = ViewCache() if prepared.run.views is None else ViewCache(prepared.run.views)
    maker = sample_maker(prepared.data, prepared.plan.empty, prepared.plan.tokenizer, cache, encode=False)
    size = config.batch * config.accumulate
    return TrainingSet(Mixture(prepared.data.shares, EPOCH_STEPS * size, config.seed), maker, config.batch)


def _entries(data: Data) -> list[tuple[str, int]]:
    held = {source.name: len(source.entries) for source in data.validation}
    rows = [(source.name, len(source.entries)) for source in data.sources]
    return rows + [(f"{name} (validates)", count) for name, count in held.items()]


def counts_text(network: InteractVLMNetwork) -> str:
    """Parameters of each part, those that learn first."""
    counts = part_counts(network)
    lines = [f"{'trained' if c.trained else 'frozen':<8} {c.part:<34}{c.numbers:>16,}" for c in counts]
    both = [sum(c.numbers for c in counts if c.trained is learns) for learns in (True, False)]
    return "\n".join([*lines, f"{'all':<8} {'trained':<34}{both[0]:>16,}", f"{'':<8} {'frozen':<34}{both[1]:>16,}"])


def finetune(run: FinetuneRun, until: int | None = None, tell: Tell = print) -> Path | None:
    """Train, or go on training.

    Args:
        run: what to do.
        until: stop after this step, to go on later with the same run.
        tell: takes lines of progress.

    Returns:
        The folder, ready for ``InteractVLM.from_pretrained`` (with ``merge``); None if it was stopped before the end.

    Raises:
        InputError: see :class:`Prepared`; or the folder holds another run.
        DivergedError: gradients are no numbers, step after step.
    """
    prepared = Prepared(run)
    _ = prepared.data  # what is wrong with it is said before weights are read
    accelerator = make_accelerator(run.config, prepared.kind)
    engine = str(accelerator.distributed_type).endswith("DEEPSPEED")
    check_training_memory(prepared.memory, accelerator.device, accelerator.num_processes if engine else 1)
    network = prepared.network(accelerator.device)
    lessons = prepared.lessons(network, accelerator.process_index, accelerator.num_processes)
    validation = _validation(prepared, lessons, accelerator)
    trainer = Finetuner(network, lessons, run.config, run.out, accelerator, _identity(prepared), validation)
    main = bool(accelerator.is_main_process)
    if main:
        _write_run(prepared, lessons)
        tell(f"{run.out}: step {trainer.state.step} of {run.config.steps}, {dtype_name(prepared.dtype)} on "
             f"{accelerator.num_processes} x {accelerator.device.type}")  # fmt: skip
    trainer.run(until, run.progress)
    ended = trainer.state.step >= run.config.steps
    if main and ended:
        _leave(prepared, trainer, lessons, tell)
    accelerator.wait_for_everyone()  # one that leaves early would leave the others hanging
    accelerator.end_training()
    return run.out if ended else None


def _identity(prepared: Prepared) -> dict[str, Any]:
    return {
        "start": prepared.plan.fingerprint,
        "precision": dtype_name(prepared.dtype),
        "words": prepared.data.identity,
    }


def _validation(prepared: Prepared, lessons: TrainingSet, accelerator: Any) -> Validation | None:
    config, sources = prepared.run.config, prepared.data.validation
    if not config.validate_samples or not sources:
        return None
    stage = lessons.maker.stage
    rank, world = accelerator.process_index, accelerator.num_processes
    return Validation(
        stage.gallery.network,
        prepared.plan.tokenizer,
        stage,
        sources,
        config.validate_samples,
        config.max_new_tokens,
        rank,
        world,
        lambda values: accelerator.reduce(values, "sum"),
    )


def _write_run(prepared: Prepared, lessons: TrainingSet) -> None:
    """What is asked for, beside the checkpoints."""
    run = prepared.run
    run.out.mkdir(parents=True, exist_ok=True)
    held = {
        "command": run.command,
        "precision": dtype_name(prepared.dtype),
        "init": str(run.init.resolve()),
        "settings": {**asdict(run.config), "lora": asdict(run.config.lora)},
        "start": dict(told(prepared.plan)),
        "data": {"recipe": run.data.recipe, **settings(lessons)},
    }
    write_json(run.out / RUN_FILE, held)


def _leave(prepared: Prepared, trainer: Finetuner, lessons: TrainingSet, tell: Tell) -> None:
    """Best weights, whole model, card."""
    run, network = prepared.run, trainer.network
    found = trainer.checkpoints.best() or trainer.checkpoints.latest()
    if found is None:
        raise InputError(f"{run.out} holds no checkpoint: begin again")
    if trainer.in_pieces:  # DeepSpeed has given this one other types
        network = prepared.network("cpu")
    read_trained(found[1] / TRAINED_FILE, trained(network))
    learned = sum(p.numel() for p in trained(network).values())
    counts = learned, sum(p.numel() for p in network.parameters()) - learned
    hashes = save_trained(network, run.out)
    if run.merge:
        name, tower = run.out.resolve().name, prepared.plan.tower
        hashes["hoirecon.json"] = save_merged(network, prepared.plan.tokenizer, run.out, prepared.dtype, name, tower)
    text = card_text(_facts(prepared, trainer, lessons, counts, hashes))
    with atomic_file(run.out / CARD_FILE) as path:
        path.write_text(text, encoding="utf-8")
    tell(f"card: {run.out / CARD_FILE}")


def _facts(
    prepared: Prepared, trainer: Finetuner, lessons: TrainingSet, counts: tuple[int, int], hashes: dict[str, str]
) -> CardFacts:
    data, device = prepared.data, trainer.accelerator.device
    return CardFacts(
        name=prepared.run.out.resolve().name,
        command=prepared.run.command or "hoirecon.contact.training.finetune.finetune",
        config=prepared.run.config,
        start=told(prepared.plan),
        data=settings(lessons),
        licences=data.licences,
        left_out=data.left_out,
        validation={source.name: len(source.entries) for source in data.validation},
        state=trainer.state,
        counts=counts,
        hashes=hashes,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor",
        precision=dtype_name(prepared.dtype),
        processes=trainer.accelerator.num_processes,
        stand_in=data.stand_in,
    )
