"""Entries of the datasets of contact and affordance."""

from __future__ import annotations

from hoirecon.data.datasets.registry import DatasetEntry

ENTRIES: tuple[DatasetEntry, ...] = ()
