"""The paper's questions, asked again in the closed world: each arm changes one thing, all are trained alike.

python -m hoirecon.contact.training.questions --out runs/questions --steps 300 --page docs/paper-questions.md

Dwivedi et al., "InteractVLM", CVPR 2025, ask what FeatLift, the language model and the amount of data are worth, and
how they do against DECO. Here the same is asked of the small model: F1 of vertices on objects and on cells of
(interaction, camera) that were not trained on, answers generated, thresholds from validation.

A run that was interrupted goes on when the same command is given again; arms that are not run are named on the page.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hoirecon.arrays import BoolArray, FloatArray
from hoirecon.contact.training.closedworld_data import LAYOUT, VERSION, Samples
from hoirecon.contact.training.evaluation import best_threshold, f1, interval, single_hands
from hoirecon.contact.training.front_end import spoilt
from hoirecon.contact.training.lessons import vertex_area
from hoirecon.contact.training.questions_arms import ARMS, BASE, Arm, ArmBudget, Made, make, of_several, with_anything
from hoirecon.contact.training.tiny import touched_groups
from hoirecon.contact.training.tiny_run import TEST_SEED, VAL_SEED, TinyRun, samples_of, train_samples
from hoirecon.errors import InputError
from hoirecon.files import atomic_file, read_json, write_json

NOISE_SEED = 5
"""Of the noise that validation and test are spoilt with."""
QUESTIONS: Mapping[str, str] = {
    "a": "Against a direct per-vertex regressor, a lookup and category means",
    "b": "Without FeatLift",
    "c": "Without the language model's guidance",
    "d": "Binary against semantic",
    "e": "Amount of data",
    "f": "Soft against legacy lifting",
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Questions:
    """What is asked, of which arms, at what cost."""

    budget: ArmBudget = field(default_factory=ArmBudget)
    """What all arms have alike."""
    shards: int = 3
    """Sets of 800 training scenes that make 100 % of the data."""
    val: int = 120
    """Samples of validation that choose each arm's threshold."""
    test: int = 300
    """Samples of the test that are asked about."""
    arms: tuple[str, ...] = tuple(arm.name for arm in ARMS)
    """Which arms are run, by name, in this order."""

    def __post_init__(self) -> None:
        known = [arm.name for arm in ARMS]
        odd = [name for name in self.arms if name not in known]
        if odd:
            raise InputError(f"there is no arm '{odd[0]}': choose {', '.join(known)}")
        if min(self.shards, self.val, self.test, self.budget.steps) < 1:
            raise InputError("shards, val, test and steps are at least 1")


@dataclass(frozen=True, eq=False)
class Asked:
    """Samples as every arm is given them."""

    samples: Samples
    evidence: Tensor
    """(n, packed_size), spoilt once for all."""
    truth: BoolArray
    """(n, V)."""

    @classmethod
    def of(cls, samples: Samples, count: int) -> Asked:
        """The first ones."""
        kept = samples.take(slice(0, count))
        evidence = spoilt(kept, np.arange(len(kept)), np.random.default_rng([NOISE_SEED, 100]))
        return cls(kept, evidence, kept.contact(slice(None)))


def run_questions(
    questions: Questions, out: Path, samples: Path | None = None, tell: Callable[[str], None] = print
) -> dict[str, Row]:
    """Train and ask the arms, one after the other; what a file in ``out`` knows already is not done again.

    Args:
        questions: what is asked.
        out: folder of checkpoints and of one JSON per arm.
        samples: folder of drawn samples, to share between runs; None is one in ``out``.
        tell: takes lines of progress.

    Returns:
        Rows by arm, in the order of :data:`ARMS`.

    Raises:
        InputError: a result there is of other settings.
    """
    kept, found = samples or out / "samples", dict[str, Row]()
    kept.mkdir(parents=True, exist_ok=True)
    sets: Sets | None = None  # drawn or read only if an arm needs them
    for arm in (a for a in ARMS if a.name in questions.arms):
        row = kept_row(arm, questions, out)
        if row is None:
            sets = sets or _sets(questions, kept, tell)
            tell(f"arm {arm.name}: {arm.what}")
            row = row_of(arm, questions, sets, out, tell)
            write_json(_path(arm, questions, out), row)
        found[arm.name] = row
    return found


def _path(arm: Arm, questions: Questions, out: Path) -> Path:
    return out / f"{arm.name}-seed{questions.budget.seed}.json"


def kept_row(arm: Arm, questions: Questions, out: Path) -> Row | None:
    """An arm's row that lies in the folder, of this command or of an earlier one; None if there is none.

    Raises:
        InputError: it is of another arm or of other settings.
    """
    path = _path(arm, questions, out)
    return checked(read_json(path), arm, questions, path) if path.is_file() else None


Sets = tuple[Samples, Asked, Asked]
"""Training samples, and the questions of validation and test."""


def _sets(questions: Questions, folder: Path, tell: Callable[[str], None]) -> Sets:
    run = TinyRun(shards=questions.shards)
    val = samples_of("val", VAL_SEED, run.val_scenes, folder, tell)
    test = samples_of("test", TEST_SEED, run.test_scenes, folder, tell)
    train = train_samples(run, folder, tell)
    return train, Asked.of(val, questions.val), Asked.of(test, questions.test)


def row_of(arm: Arm, questions: Questions, sets: Sets, out: Path, tell: Callable[[str], None]) -> Row:
    """Train one arm and ask it."""
    train, val, test = sets
    folder = out / f"{arm.trained_as or arm.name}-seed{questions.budget.seed}"
    made = make(arm, questions.budget, train, folder, tell)
    start = time.process_time()
    said, asked = made.ask(val.samples, val.evidence), made.ask(test.samples, test.evidence)
    tell(f"{len(val.truth) + len(test.truth)} questions asked in {time.process_time() - start:.0f} s")
    return {
        "arm": arm.name, "settings": settings_of(questions), "parameters": made.parameters,
        "training_samples": int(arm.share * len(train)) if arm.kind != "mean" else len(train),
        "steps": _steps(arm, questions, made), "cpu_seconds": round(made.cpu_seconds, 1),
        **figures(said, asked, val, test),
    }  # fmt: skip


def _steps(arm: Arm, questions: Questions, made: Made) -> int:
    return questions.budget.steps * arm.steps_factor if made.parameters else 0


def figures(said: np.ndarray, asked: np.ndarray, val: Asked, test: Asked) -> Row:
    """Threshold from validation, and figures of the test, sample by sample.

    Args:
        said: (n, V) of validation.
        asked: (m, V) of the test.
        val: the questions of validation.
        test: the questions of the test.
    """
    threshold = best_threshold(said, val.truth)
    found = asked > threshold
    right, swapped, count = single_hands(touched_groups(found), touched_groups(test.truth))
    everything = with_anything(test.samples).contact(slice(None))
    return {
        "threshold": round(threshold, 2),
        "each": _short(f1(found, test.truth)),
        "area": _short(f1(found, test.truth, vertex_area().double().numpy())),
        "each_anything": _short(f1(found, everything)),
        "several": of_several(test.samples).tolist(),
        "hand_right": round(right, 4) if count else 0.0,
        "hand_swapped": round(swapped, 4) if count else 0.0,
        "hands": count,
    }


def _short(values: FloatArray) -> list[float]:
    return [round(float(v), 4) for v in values]


def settings_of(questions: Questions) -> Row:
    """What must be alike for figures to be compared."""
    budget = asdict(questions.budget)
    return {
        **budget, "shards": questions.shards, "val": questions.val, "test": questions.test, "version": VERSION,
        "layout": LAYOUT,
    }  # fmt: skip


def checked(row: Any, arm: Arm, questions: Questions, path: Path) -> Row:
    """A row that was read from a file, if it is of this arm and of these settings.

    Raises:
        InputError: it is not; names the file.
    """
    if not isinstance(row, dict) or row.get("arm") != arm.name or "each" not in row:
        raise InputError(f"{path} is no result of the arm '{arm.name}': delete it, and it is made anew")
    if row.get("settings") != settings_of(questions):
        raise InputError(
            f"{path} is of other settings than these: give another folder with --out, or the same settings"
        )
    return row


# -------------------------------------------------------------------------------------------------------------- page
def table(rows: Mapping[str, Row], arms: Sequence[Arm], field_name: str = "each") -> str:
    """Markdown: a line per arm, each held against the full model on the same samples."""
    base = rows.get(BASE)
    lines = [
        "| arm | | parameters | steps | training s | threshold | macro F1 [95 %] | area-weighted | less full [95 %] | "
        "single hand right / swapped |",
        "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for arm in arms:
        row = rows.get(arm.name)
        if row is None:
            lines.append(f"| `{arm.name}` | {arm.what} | | | | | **not run** | | | |")
            continue
        each = np.array(row[field_name])
        low, high = interval(each)
        lines.append(
            f"| `{arm.name}` | {arm.what} | {row['parameters'] or ''} | {row['steps'] or ''} | "
            f"{row['cpu_seconds'] or ''} | {row['threshold']:.2f} | {each.mean():.3f} [{low:.3f}, {high:.3f}] | "
            f"{np.mean(row['area']):.3f} | {_less(each, base, field_name)} | {row['hand_right']:.3f} / "
            f"{row['hand_swapped']:.3f} |"
        )
    return "\n".join(lines)


def _less(each: FloatArray, base: Row | None, field_name: str) -> str:
    """Mean difference to the full model, with the interval of resampled samples."""
    if base is None or np.array_equal(each, base[field_name]):
        return ""
    difference = each - np.array(base[field_name])
    low, high = interval(difference)
    return f"{difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def binary_lines(rows: Mapping[str, Row]) -> str:
    """Semantic against binary in pictures with several touched things, against each truth."""
    lines = ["| arm | against contact with the named thing | against contact with anything |", "| --- | --: | --: |"]
    for name in (BASE, "unnamed", "anything"):
        if name in rows:
            several = np.array(rows[name]["several"], dtype=bool)
            if not several.any():
                continue
            own, both = (np.array(rows[name][key])[several] for key in ("each", "each_anything"))
            lines.append(f"| `{name}` | {_mean(own)} | {_mean(both)} |")
    return "\n".join(lines)


def _mean(values: FloatArray) -> str:
    low, high = interval(values)
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}] (n = {len(values)})"


def page(rows: Mapping[str, Row], questions: Questions, command: str) -> str:
    """The page, Markdown."""
    base = next(arm for arm in ARMS if arm.name == BASE)
    parts = []
    for letter, title in QUESTIONS.items():
        arms = [base, *(arm for arm in ARMS if arm.question == letter)]
        text = f"## ({letter}) {title}\n\n{table(rows, arms)}"
        if letter == "d" and {"unnamed", "anything"} & rows.keys():
            text += f"\n\nIn pictures in which two things are touched:\n\n{binary_lines(rows)}"
        parts.append(text)
    missing = [arm.name for arm in ARMS if arm.name not in rows]
    budget = questions.budget
    return PAGE.format(
        command=command,
        steps=budget.steps,
        batch=budget.batch,
        seen=budget.steps * budget.batch,
        seed=budget.seed,
        shards=questions.shards,
        test=len(next(iter(rows.values()))["each"]) if rows else questions.test,
        val=questions.val,
        missing=f"Not run: {', '.join(f'`{name}`' for name in missing)}." if missing else "All arms were run.",
        parts="\n\n".join(parts),
    )


PAGE = """# The paper's questions, asked again in the closed world

This page is written by one command; nothing here is typed by hand.

```sh
{command}
```

Every arm changes one thing of the small model and is trained on the same samples ({shards} times 800 drawn scenes),
from seed {seed}, for {steps} steps of {batch} questions: {seen} in all. **That is a small budget**, a fraction of the
shipped model's; it tells what helps early, not where each arm would end. One seed: intervals are of the test's samples
(n = {test}, paired, bootstrap of 2000 draws) and know nothing of how another seed would do.

F1 is of vertices of the body, mean over samples, on objects and cells of (interaction, camera octant) that were not
trained on; evidence spoilt by BlazePose's measured errors; answers generated; each arm's threshold from {val}
validation samples. Sides of hands are read off the thresholded contact. Contact on objects is not asked.

**The network of these arms is the paper's, in small**: masks only. The model that ships also looks back at the evidence
and has a head for vertices ([small-model.md](small-model.md)), which none of these arms has.

{missing}

{parts}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not there yet, and write the page."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/questions"), help="folder of checkpoints and results")
    parser.add_argument("--steps", type=int, default=300, help="steps of each arm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=24, help="questions in a step")
    parser.add_argument("--shards", type=int, default=3, help="sets of 800 training scenes")
    parser.add_argument("--val", type=int, default=120)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--arms", default=",".join(arm.name for arm in ARMS), help="names with commas between them")
    parser.add_argument("--samples", type=Path, help="folder of drawn samples, to share between runs")
    parser.add_argument("--page", type=Path, help="Markdown file to write; of all results in --out")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    budget = ArmBudget(given.steps, given.seed, given.batch)
    questions = Questions(budget, given.shards, given.val, given.test, tuple(given.arms.split(",")))
    run_questions(questions, given.out, given.samples, _tell)
    rows = kept_rows(questions, given.out)
    text = page(rows, questions, _command(given))
    if given.page is not None:
        with atomic_file(given.page) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(text)


def kept_rows(questions: Questions, out: Path) -> dict[str, Row]:
    """Every arm's row that lies in the folder, those of earlier commands too."""
    return {arm.name: row for arm in ARMS if (row := kept_row(arm, questions, out)) is not None}


def _command(given: argparse.Namespace) -> str:
    return (
        f"python -m hoirecon.contact.training.questions --steps {given.steps} --seed {given.seed} --batch "
        f"{given.batch} --shards {given.shards} --val {given.val} --test {given.test} --out runs/questions --page "
        "docs/paper-questions.md"
    )


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
