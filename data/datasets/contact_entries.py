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
    DatasetEntry(
        name="lemon",
        title="3DIR: contact on the person and affordance on the object, in photographs (LEMON, CVPR 2024)",
        licence="for research only, by the authors' page; no licence file",
        where="LEMON's page on GitHub (Google Drive or Baidu): the folder Data",
        formats=("3dir",),
        splits=("train", "val"),
        truth=("body_contact", "affordance"),
        reader=f"{_HERE}.lemon:open_lemon",
        layout="Data/{Images,mask,Objects,smplh_contact_pkl,smplh_param,txt_scripts}",
    ),
    DatasetEntry(
        name="piad",
        title="PIAD: where an object is used, on point clouds, 17 affordances (IAGNet, ICCV 2023)",
        licence="none stated in the authors' repository",
        where="IAGNet's page on GitHub (Google Drive): the folder Data",
        formats=("piad",),
        splits=("seen-train", "seen-test", "unseen-train", "unseen-test"),
        truth=("affordance",),
        reader=f"{_HERE}.piad:open_piad",
        layout="Data/{Seen,Unseen}/{Img,Point,Box}_{Train,Test}.txt and what they list",
    ),
    DatasetEntry(
        name="piadv2",
        title="PIADv2: where an object is used, on point clouds, 24 affordances, 43 classes (GREAT, CVPR 2025)",
        licence="none stated in the authors' repository",
        where="GREAT's page on GitHub (Google Drive or Baidu): the folder Data",
        formats=("piadv2",),
        splits=tuple(
            f"{setting}-{part}" for setting in ("seen", "unseen_obj", "unseen_aff") for part in ("train", "val", "test")
        ),
        truth=("affordance",),
        reader=f"{_HERE}.piad:open_piadv2",
        layout="Data/{Seen,Unseen_obj,Unseen_aff}/{Img,Point}_{train,val,test}.txt and what they list",
    ),
    DatasetEntry(
        name="pico",
        title="PICO-db: pairs of body vertices and places on the object's mesh (PICO, CVPR 2025)",
        licence="MPI licence for non-commercial research",
        where="PICO's page (registration): the dataset and the inputs of PICO-fit; or the download pico.tar.gz of "
        "InteractVLM",
        formats=("pico-db", "interactvlm-repack"),
        splits=("all", "train", "test"),
        truth=("correspondences", "body_contact", "object_contact"),
        reader=f"{_HERE}.pico:open_pico",
        layout="<object>__<image>/{object.obj,corresponding_contacts.json}; or {train,test}/ of the repack",
    ),
    DatasetEntry(
        name="rich",
        title="RICH: contact of people with scanned scenes, several cameras, on SMPL (BSTRO, CVPR 2022)",
        licence="MPI licence for non-commercial research, no redistribution",
        where="RICH's page (registration): human_scene_contact and images; or the TSV files of BSTRO",
        formats=("tree", "bstro-tsv"),
        splits=("train", "val", "test"),
        truth=("body_contact",),
        reader=f"{_HERE}.rich:open_rich",
        layout="{human_scene_contact,images}/<split>/<sequence>/...; or <split>.{img,hw,label}.tsv",
    ),
    DatasetEntry(
        name="mow",
        title="MOW with HACO's labels: hands that hold objects, on MANO (ICCV 2021, NeurIPS 2025)",
        licence="MOW: none stated; HACO's labels: CC BY-NC 4.0",
        where="MOW's page (mow.zip), and HACO's page on GitHub (splits and preprocessed data)",
        formats=("haco",),
        splits=("train", "test"),
        truth=("body_contact",),
        reader=f"{_HERE}.mow:open_mow",
        layout="data/{poses.json,images,models}, splits/mow_<split>.npy, preprocessed_data/<split>/contact_data",
    ),
)
