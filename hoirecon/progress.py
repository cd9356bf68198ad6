"""A progress bar over the stages of a run, which also times them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Times the stages and shows where the work is."""

    def __init__(self, progress: bool, total: int) -> None:
        from tqdm import tqdm

        self.seconds: dict[str, float] = {}
        self._bar = tqdm(total=total, disable=not progress, bar_format="{desc:<36}{bar:24} {n}/{total} [{elapsed}]")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show and time one stage; a name that comes again adds up."""
        self._bar.set_description_str(name)
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            self.close()
            raise
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        self._bar.update()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.set_description_str("done" if self._bar.n == self._bar.total else "stopped")
        self._bar.close()
