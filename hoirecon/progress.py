"""Progress bars: over the stages of a run, which they also time, and over long lists."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
QUIET_S = 3.0
"""Seconds that a list may take before :func:`shown` draws its bar."""


def shown(items: Iterable[T], total: int, what: str, progress: bool = True) -> Iterable[T]:
    """The same items, with a progress bar on stderr if they take more than a few seconds; without ``progress`` none."""
    from tqdm import tqdm

    return items if not progress else tqdm(items, what, total, leave=False, delay=QUIET_S)


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
