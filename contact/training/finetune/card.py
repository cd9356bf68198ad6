"""The card of a run: what was trained on what, from what, by which command, how good it is, and under which terms."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hoirecon.contact.training.finetune.checkpoints import RunState
from hoirecon.contact.training.finetune.engine import SCORE
from hoirecon.contact.training.finetune.settings import FinetuneConfig
from hoirecon.contact.training.finetune.validation import table_text


@dataclass(frozen=True)
class CardFacts:
    """What a run knows of itself."""

    name: str
    command: str
    config: FinetuneConfig
    start: Mapping[str, Any]
    """See :func:`hoirecon.contact.training.finetune.start.told`."""
    data: Mapping[str, Any]
    """See :func:`hoirecon.contact.training.public.batches.settings`."""
    licences: Mapping[str, str]
    left_out: Mapping[str, Mapping[str, int]]
    validation: Mapping[str, int]
    """Entries of each source that validate."""
    state: RunState
    counts: tuple[int, int]
    """Trained and frozen parameters."""
    hashes: Mapping[str, str]
    """File -> sha256."""
    device: str
    precision: str
    processes: int
    stand_in: bool = False


def card_text(facts: CardFacts) -> str:
    """The card, Markdown."""
    blocks = [
        f"# Card of the contact model `{facts.name}`",
        "Written by the run that made the weights.",
        _warning(facts),
        _lines(_of_run(facts)),
        "## Data",
        _sources(facts),
        "Validation is a part of the training split, by photograph; no test split was read.",
        "## Figures",
        "Validation by generated answers (never teacher-forced): F1 at 0.5 per sample for contact on people and "
        "objects, mean overlap at 20 thresholds for affordance, overlap for pixels; an answer without a contact token "
        f"counts as no contact. The weights are those of the best `{SCORE}`, the mean of the kinds."
        if facts.state.best
        else "",
        table_text(facts.state.validation),
        "## Licence",
        "The weights are derived from those that the run started from and from the data below; the terms of all of "
        "them hold for the result. Ask their owners before you pass it on.",
        _lines({"start": f"`{facts.start['weights']}`, under the terms that it came with", **facts.licences}),
        "## Files",
        _lines({f"`{name}`": f"sha256 `{digest}`" for name, digest in facts.hashes.items()}),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _warning(facts: CardFacts) -> str:
    if not facts.stand_in:
        return ""
    return (
        "**The data are stand-ins or made pictures, not the real data sets: the figures say that the code runs, and "
        "nothing about contact.**"
    )


def _of_run(facts: CardFacts) -> dict[str, str]:
    config, state = facts.config, facts.state
    new = facts.start["new_tensors"]
    drawn = f"{len(new)} tensors and {facts.start['new_words']} words drawn anew" if new else "no tensor was new"
    return {
        "command": f"`{facts.command}`",
        "start": f"{facts.start['kind']} weights `{facts.start['weights']}`, {drawn}",
        "trained": f"{facts.counts[0]:,} parameters ({facts.counts[1]:,} frozen): LoRA of rank {config.lora.r} on "
        f"{', '.join(config.lora.targets)}, words, token projection, FeatLift, mask decoders",
        "steps": f"{state.step} of {config.batch} x {config.accumulate} samples on {facts.processes} process(es)"
        + (f"; {state.skipped} moved nothing, as their gradient was no number" if state.skipped else ""),
        "schedule": f"AdamW, rate {config.rate:g} after {config.warmup} steps, falling to 0; gradients clipped at "
        f"{config.clip:g}",
        "seed": str(config.seed),
        "time": f"{state.seconds / 3600:.2f} h on {facts.device}, {facts.precision}, {platform.machine()}",
    }


def _sources(facts: CardFacts) -> str:
    rows = ["| source | entries | chance | validates | left out |", "| --- | --- | --- | --- | --- |"]
    for source in facts.data["sources"]:
        reasons = facts.left_out.get(source["name"], {})
        left = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
        held = facts.validation.get(source["name"], 0)
        rows.append(f"| {source['name']} | {source['entries']:,} | {source['chance']:.3f} | {held:,} | {left} |")
    text = facts.data["text"]
    words = (
        f"Questions on people: `{text['human_questions']}`, body parts dropped in {text['part_dropout']:.0%} of them. "
        f"Fingerprint of all that was drawn: `{facts.data['fingerprint']}`."
    )
    return "\n".join([*rows, "", words])


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in values.items())
