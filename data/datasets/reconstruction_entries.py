"""Entries of the datasets of joint reconstruction."""

from __future__ import annotations

from hoirecon.data.datasets.registry import DatasetEntry

ENTRIES: tuple[DatasetEntry, ...] = (
    DatasetEntry(
        name="behave",
        title="231 + 90 sequences of a person with one of 20 objects, four Kinects, SMPL-H",
        licence="MPI, non-commercial research only; blur faces in pictures you publish",
        where="the BEHAVE page of virtualhumans.mpi-inf.mpg.de: sequences, objects, calibs, split.json",
        formats=("sequences", "30fps"),
        splits=("train", "test", "all"),
        truth=("reconstruction", "body_contact"),
        reader="hoirecon.data.datasets.behave:open_behave",
        layout="split.json, calibs/, objects/<name>/<name>_f1000.ply, sequences/<name>/t0003.000/",
    ),
    DatasetEntry(
        name="intercap",
        title="10 people with 10 objects, six cameras, SMPL-X",
        licence="MPI, non-commercial research only, no redistribution",
        where="the InterCap page of intercap.is.tue.mpg.de: Res.zip, RGBD_Images.zip; calibration from its repository",
        formats=("Res",),
        splits=("train", "test", "all"),
        truth=("reconstruction",),
        reader="hoirecon.data.datasets.intercap:open_intercap",
        layout="Res/<subject>/<object>/Seg_<k>/Mesh/, RGBD_Images/, calibration_third/, objs/; split.json is your own",
    ),
    DatasetEntry(
        name="open3dhoi",
        title="2.5k photographs, 133 objects, SMPL-X and a mesh per object; our import of scene folders",
        licence="annotations for research; images under the licences of their sources",
        where="Hugging Face, acane2/Open3DHOI",
        formats=("folders",),
        splits=("test",),
        truth=("reconstruction",),
        reader="hoirecon.data.datasets.open3dhoi:open_open3dhoi",
        layout="<object>/<image>/{smplx_parameters.json, h_mesh.obj, object_mesh.obj, image.jpg, ...}",
    ),
    DatasetEntry(
        name="contho",
        title="BEHAVE and InterCap as one json per split, with contact labels, as CONTHO and its followers use them",
        licence="under the terms of BEHAVE and InterCap, non-commercial research only",
        where="the page of CONTHO's public repository: annotations",
        formats=("behave-json", "intercap-json"),
        splits=("train", "test"),
        truth=("reconstruction", "body_contact"),
        reader="hoirecon.data.datasets.contho:open_contho",
        layout="behave_test.json or annotations/behave_test.json; sequences/ and objects/ of BEHAVE beside it",
    ),
    DatasetEntry(
        name="rhobin",
        title="the RHOBIN challenges' packing of BEHAVE, InterCap and IMHD, images and videos",
        licence="under the terms of BEHAVE, InterCap and IMHD, non-commercial research only",
        where="the challenge's page: the reference archive (ref_hoi.zip), pictures of its test set",
        formats=("ref.pkl", "gt"),
        splits=("train", "val", "test"),
        truth=("reconstruction",),
        reader="hoirecon.data.datasets.rhobin:open_rhobin",
        layout="ref/ref.pkl or <split>/gt/<id>.pkl; <split>/images/<id>.jpg",
    ),
    DatasetEntry(
        name="closedworld",
        title="seeded scenes of the free body and library objects in which everything is known",
        licence="made by this library; body and objects CC0",
        where="nowhere: give an empty folder, the questions' pictures are kept in it",
        formats=("generated",),
        splits=("dev", "test"),
        truth=("reconstruction", "body_contact", "object_contact", "correspondences"),
        reader="hoirecon.data.datasets.closedworld:open_closedworld",
        layout="any folder",
    ),
)
