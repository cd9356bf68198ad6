"""Entries of the datasets of joint reconstruction."""

from __future__ import annotations

from hoirecon.data.datasets.registry import DatasetEntry

ENTRIES: tuple[DatasetEntry, ...] = ()
