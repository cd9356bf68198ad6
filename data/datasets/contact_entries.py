"""Entries of the datasets of contact and affordance."""

from __future__ import annotations

from hoirecon.data.datasets.registry import DatasetEntry

_HERE = "hoirecon.data.datasets"

ENTRIES: tuple[DatasetEntry, ...] = (
    DatasetEntry(
        name="damon",
        title="DAMON: contact of people with objects in photographs, on SMPL (DECO, ICCV 2023)",
        licence="MPI licence for non-commercial research, no redistribution",
        where="DECO's page (registration): hot_dca_trainval.npz and hot_dca_test.npz, images from HOT; or the download "
        "damon.tar.gz of InteractVLM",
        formats=("npz", "interactvlm-repack"),
        splits=("trainval", "test"),
        truth=("body_contact",),
        reader=f"{_HERE}.damon:open_damon",
        layout="hot_dca_{trainval,test}.npz, images/; or {train,test}/ with imgname.npy, contact_label_objectwise.pkl",
    ),
)
