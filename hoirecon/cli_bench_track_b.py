"""``hoirecon bench track-b``: the same fit with contact from different sources, and its page."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hoirecon.cli_bench_shared import EXIT_OK, BenchCommand
from hoirecon.cli_values import parse_names, parse_seeds


@dataclass(frozen=True)
class BenchTrackB(BenchCommand):
    """Compare sources of contact: how much of the accuracy with given contact does the fit keep? Prints Markdown."""

    seeds: str = "0:60"
    """Scene seeds: 0:60 is 0 to 59; below 1000 for tuning, from 1000 for reporting; 3,5,8 are just these."""
    sources: str = "given,tiny,geometric,category-mean,none"
    """With commas between them; the first is what the others are held against. `tiny+given` takes the body side from
    the small model and the object side as given."""
    method: str = "hoirecon"
    """The fit, by its name in the benchmark."""
    level: Literal["L0", "L1", "L2", "L3", "mismatch"] = "L2"
    """Noise of everything but the contact."""
    landmarks: Literal["blazepose", "level"] = "blazepose"
    """Errors of the landmarks that a model is told."""
    form: Literal["soft", "shifted", "hard"] = "soft"
    """How contact is handed to the fit: as it is, with thresholds moved to one half, or as 0 and 1."""
    threshold: float = 0.5
    """Probability on the body from which a model's word counts as contact; not used by `soft`."""
    object_threshold: float = 0.5
    """Likewise on the object."""
    guess_threshold: float = 0.5
    """Likewise of what geometry guesses."""
    parts: bool = False
    """Named parts that touch become terms of the fit."""
    noise_seed: int = 0
    """Another draw of the noise."""
    samples: Path | None = None
    """Folder of drawn training samples, for category-mean; by default they are drawn into the package's home."""
    shards: int = 3
    """Sets of training scenes for category-mean."""
    results: Path | None = None
    """Folder of rows, from which an interrupted run goes on (empty it when code or weights change)."""
    page: Path | None = None
    """Markdown file to write."""

    def work(self) -> int:
        """Carry the command out."""
        from hoirecon.evaluation.closedworld.track_b import TrackB, run_track_b
        from hoirecon.evaluation.closedworld.track_b_contact import ContactOptions, Sources
        from hoirecon.evaluation.closedworld.track_b_page import page
        from hoirecon.files import atomic_file

        options = ContactOptions(
            self.landmarks, self.form, self.threshold, self.object_threshold, self.guess_threshold, self.parts
        )
        track = TrackB(
            tuple(parse_seeds(self.seeds)), parse_names(self.sources), self.level, options, self.noise_seed, self.method
        )
        rows = run_track_b(track, Sources(options, self.samples, self.shards), self.results, _tell)
        text = page(track, rows, self.command())
        if self.page is not None:
            with atomic_file(self.page) as temporary:
                temporary.write_text(text, encoding="utf-8")
        print(text)
        return EXIT_OK

    def command(self) -> str:
        """The command that makes the same figures; folders of kept files left out."""
        thresholds = (
            f"--threshold {self.threshold:g} --object-threshold {self.object_threshold:g} --guess-threshold "
            f"{self.guess_threshold:g}"
        )
        return (
            f"hoirecon bench track-b --seeds {self.seeds} --sources {self.sources} --method {self.method} --level "
            f"{self.level} --landmarks {self.landmarks} --form {self.form} {thresholds}{' --parts' * self.parts} "
            f"--noise-seed {self.noise_seed} --shards {self.shards} --page docs/track-b.md"
        )


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
