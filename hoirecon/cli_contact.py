"""Commands of contact: ``hoirecon contact photo.jpg --object cup --weights DIR`` and ``hoirecon contact convert``.

The options are the fields of the dataclasses, as in :mod:`hoirecon.cli`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from hoirecon.cli_values import which_person
from hoirecon.errors import InputError, require

if TYPE_CHECKING:
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.contact.inference.queries import Query
    from hoirecon.contact.results import ImageContact
    from hoirecon.contact.transfer import TransferMatrix
    from hoirecon.contact_map import ContactMap
    from hoirecon.data.body import BodyModel

CONTACT_JSON = "contact.json"
"""Summary in the result's folder; it also marks a folder that may be replaced."""

Words = tyro.conf.UseAppendAction[tuple[str, ...]]
Paths = tyro.conf.UseAppendAction[tuple[Path, ...]]


@dataclass(frozen=True)
class Contact:
    """Where do they touch? Contact on the body and the objects by an InteractVLM checkpoint of yours.

    `hoirecon contact convert RELEASED OUT` makes a released folder into ours, which loads faster and in less memory.
    """

    image: tyro.conf.Positional[Path]
    """Photograph (JPEG, PNG, ...)."""
    weights: Path
    """Folder of a released checkpoint, or of one that `contact convert` or `save_pretrained` wrote."""
    object: Words = ()
    """Name of the object, e.g. "tennis racket"; `scene` asks for the ground. May be repeated."""
    mesh: Paths = ()
    """Mesh or point cloud of each --object, in the same order; without it contact is on the body only."""
    kind: Literal["contact", "affordance", "image"] = "contact"
    """Contact on body and object, where the object is used and how, or contact in the photograph's pixels."""
    out: Path = Path("out")
    """Folder for the result; an earlier result there is replaced."""
    picture: bool = False
    """Also draw contact on body and object from four views beside the photograph (contact.jpg)."""
    reference_layout: bool = False
    """Write the npz files with the reference's keys instead of ours."""
    smplx_matrix: Path | None = None
    """The matrix smpl_to_smplx.pkl (or .npz) of yours: contact on an SMPL-H body is also given on SMPL-X."""
    view_masks: bool = False
    """Also keep what MV-Loc drew in each view, in the npz files."""
    person_box: str = ""
    """x,y,width,height in pixels round the person meant; by default the whole photograph is looked at."""
    person_mask: Path | None = None
    """Mask file (white on the person and what they touch) instead of a box; all else is greyed."""
    body: Path | None = None
    """Your own SMPL-H file (.npz or .pkl); by default the free body."""
    vision_tower: Path | None = None
    """Folder of CLIP ViT-L/14, which released checkpoints do not hold; by default the local Hugging Face cache."""
    body_views: Path | None = None
    """Folder of the released body pictures and maps (hcontact_vitruvian), to take instead of rendering the body."""
    separate_decoders: Literal["keep", "collapse"] = "keep"
    """What to do with three mask decoders (DifDe): keep them, or use the object's for all as the reference does."""
    lift: Literal["soft", "legacy"] = "soft"
    """How masks become contact: `soft` probabilities, or the hard votes that older checkpoints were published with."""
    device: str = "cpu"
    """Where torch runs it, e.g. cuda."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision; `auto` takes bfloat16 where the hardware is fast with it."""
    quantize: Literal["none", "int8", "int4"] = "none"
    """Keep the language model's matrices in 8 or 4 bits."""
    verify: bool = False
    """Hold the weights' files against their checksums first (folders of our format)."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.files import atomic_folder, check_replaceable, write_json

        self._check()
        check_replaceable(self.out, CONTACT_JSON)
        # What is wrong with what was given is said before the weights are read.
        queries, body, to_smplx = self._queries(), self._body(), self._to_smplx()
        model = self._model(body)
        results = dict(zip(queries, model.ask(list(queries.values()), view_masks=self.view_masks), strict=True))
        summary = {name: _about(self.kind, result) for name, result in results.items()}
        with atomic_folder(self.out, CONTACT_JSON) as folder:
            for name, result in results.items():
                self._save(result, folder / name, to_smplx)
            if self.picture:
                self._draw(model, queries, results, folder / "contact.jpg")
            write_json(folder / CONTACT_JSON, summary)
        print("\n".join(_line(name, about) for name, about in summary.items()))
        print(f"result: {self.out}")
        return 0

    def _check(self) -> None:
        if str(self.weights) == "tiny":
            raise InputError(
                "the small model 'tiny' sees landmarks and masks, not the photograph: say where the object is, by "
                "`hoirecon reconstruct ... --contact-weights tiny`, or in Python as docs/small-model.md shows"
            )
        if not self.object:
            raise InputError('name the object with --object, e.g. --object "tennis racket"')
        if self.mesh and len(self.mesh) != len(self.object):
            raise InputError(f"{len(self.object)} objects need as many --mesh or none, got {len(self.mesh)}")
        if self.kind == "affordance" and not self.mesh:
            raise InputError("affordance is laid on a mesh: give it with --mesh")
        if self.kind == "image" and (self.mesh or self.reference_layout or self.view_masks):
            raise InputError("contact in the photograph has no mesh, views or reference's layout: leave these options")
        if self.reference_layout and self.kind == "contact" and self.body is None:
            raise InputError(
                "the reference's layout knows SMPL-H's 6890 vertices only, not the free body's: give your SMPL-H file "
                "with --body, or leave --reference-layout"
            )
        if self.smplx_matrix is not None and self.body is None:
            raise InputError("the matrix to SMPL-X starts from SMPL-H's vertices: give your SMPL-H file with --body")
        if self.picture and self.kind != "image":
            require("open3d", extra="render")

    def _body(self) -> BodyModel | None:
        if self.body is None:
            return None
        from hoirecon.contact_io import BODY_SIZES
        from hoirecon.data.body import load_body

        body = load_body(self.body)
        if self.reference_layout and body.topology not in BODY_SIZES:
            raise InputError(
                f"the reference's layout knows bodies as {', '.join(BODY_SIZES)}, not '{body.topology}': leave "
                "--reference-layout"
            )
        return body

    def _model(self, body: BodyModel | None) -> InteractVLM:
        from hoirecon.contact import EstimatorConfig, InteractVLM

        return InteractVLM.from_pretrained(
            self.weights,
            device=self.device,
            dtype=self.dtype,
            quantize=None if self.quantize == "none" else self.quantize,
            verify=self.verify,
            vision_tower=self.vision_tower,
            separate_decoders=self.separate_decoders,
            body_model=body,
            body_views=self.body_views,
            config=EstimatorConfig(lift=self.lift),
        )

    def _queries(self) -> dict[str, Query]:
        """Questions by the name of their result's file without ending."""
        from hoirecon.contact.inference.queries import Query
        from hoirecon.contact.prompting.templates import object_word
        from hoirecon.contact.rendering.surfaces import read_thing
        from hoirecon.images import read_image

        photograph = read_image(self.image)
        person = self._person((photograph.height, photograph.width))
        meshes = [read_thing(path) for path in self.mesh]
        asked: dict[str, Query] = {}
        for i, label in enumerate(self.object):
            name = f"{i:02d}_{_file_name(object_word(label))}"
            mesh = meshes[i] if meshes else None
            if self.kind != "contact":
                asked[f"{name}_{self.kind}"] = Query(self.kind, photograph, label, mesh=mesh, person=person)
                continue
            asked[f"{name}_human"] = Query("human", photograph, label, person=person)
            if mesh is not None:
                asked[f"{name}_object"] = Query("object", photograph, label, mesh=mesh, person=person)
        return asked

    def _person(self, size: tuple[int, int]) -> Any:
        from hoirecon.perception.importers import read_mask

        meant = which_person(None, self.person_box, self.person_mask)
        if self.person_mask is not None:
            return read_mask(self.person_mask, size)
        return None if meant == "auto" else meant

    def _to_smplx(self) -> TransferMatrix | None:
        if self.smplx_matrix is None:
            return None
        from hoirecon.contact.transfer import TransferMatrix

        return TransferMatrix.load(self.smplx_matrix)

    def _save(self, result: ContactMap | ImageContact, path: Path, to_smplx: TransferMatrix | None) -> None:
        from hoirecon.contact.results import ImageContact
        from hoirecon.safe_io import write_arrays, write_png

        if isinstance(result, ImageContact):
            write_arrays({"probability": result.probability}, path.with_suffix(".npz"))
            write_png((result.mask()[..., None] * 255).astype("uint8").repeat(3, axis=2), path.with_suffix(".png"))
            return
        on_smplx = to_smplx.apply(result) if to_smplx is not None and result.topology == to_smplx.source else None
        if self.reference_layout:
            result.save(path.with_suffix(".npz"), layout="reference", smplx=on_smplx)
            return
        result.save(path.with_suffix(".npz"))
        if on_smplx is not None:
            on_smplx.save(path.with_name(f"{path.name}_smplx.npz"))

    def _draw(self, model: InteractVLM, queries: Mapping[str, Query], results: Mapping[str, Any], path: Path) -> None:
        from PIL import Image

        from hoirecon.contact_map import ContactMap
        from hoirecon.images import read_image

        rgb = read_image(next(iter(queries.values())).image).rgb
        if self.kind == "image":
            from hoirecon.views import draw_image_contact

            words = [f"{r.label}: {text}" for r in results.values() for text in (f"“{r.answer}”", *r.notes)]
            sheet = draw_image_contact(rgb, [(r.label, r.probability) for r in results.values()], words)
        else:
            from hoirecon.views import contact_sheet

            on_body = [results[name] for name, query in queries.items() if query.kind == "human"]
            on_objects = [(q.mesh, results[name]) for name, q in queries.items() if q.mesh is not None]
            body = (model.body_mesh, ContactMap.merge(on_body)) if on_body else None
            sheet = contact_sheet(rgb, body, on_objects)
        Image.fromarray(sheet).save(path, quality=92)


@dataclass(frozen=True)
class ContactConvert:
    """Make a released checkpoint into our format: sharded safetensors with checksums, read without pickle."""

    released: tyro.conf.Positional[Path]
    """Folder of the released checkpoint (pytorch_model-*.bin, config.json, tokenizer.model)."""
    out: tyro.conf.Positional[Path]
    """Folder to make."""
    vision_tower: Path | None = None
    """Folder of CLIP ViT-L/14, to go into the result; by default the local Hugging Face cache."""
    separate_decoders: Literal["keep", "collapse"] = "keep"
    """What to do with three mask decoders (DifDe): keep them, or the object's for all as the reference does."""
    overwrite: bool = False
    """Replace an earlier conversion there."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.contact.checkpoints.convert import convert_released

        made = convert_released(
            self.released,
            self.out,
            vision_tower=self.vision_tower,
            separate_decoders=self.separate_decoders,
            overwrite=self.overwrite,
            progress=True,
        )
        size = sum(int(entry["bytes"]) for entry in made.files.values())
        print(f"result: {self.out}  ({made.name}, {len(made.files)} files, {size / 1e9:.2f} GB, checksums written)")
        return 0


def split_contact(args: list[str]) -> list[str]:
    """``contact convert A B`` becomes ``contact-convert A B``, so that ``contact`` can take a photograph directly.

    Example:
        >>> split_contact(["contact", "convert", "A", "B"])
        ['contact-convert', 'A', 'B']
    """
    return ["contact-convert", *args[2:]] if args[:2] == ["contact", "convert"] else args


def _file_name(label: str) -> str:
    """A name for a file: letters and digits, all else one underscore.

    Example:
        >>> _file_name("[SEG] tennis  racket")
        'seg_tennis_racket'
    """
    return "_".join("".join(c if c.isalnum() else " " for c in label.lower()).split())[:40] or "object"


def _about(kind: str, result: ContactMap | ImageContact) -> dict[str, Any]:
    """What contact.json says of one result."""
    from hoirecon.contact.prompting.parts import affordance_named
    from hoirecon.contact_map import CONTACT_THRESHOLD, ContactMap

    about: dict[str, Any] = {
        "label": result.label,
        "answer": result.answer,
        "notes": list(result.notes),
        "in_contact": int((result.probability > CONTACT_THRESHOLD).sum()),
        "of": int(result.probability.size),
    }
    if isinstance(result, ContactMap):
        about |= {"topology": result.topology, "named_parts": list(result.named_parts)}
        if result.parts:
            about["touched_parts"] = list(result.touched_parts())
    if kind == "affordance":
        about["affordance"] = affordance_named(result.answer)
    return about


def _line(name: str, about: dict[str, Any]) -> str:
    notes = "".join(f"\n  note: {note}" for note in about["notes"])
    return f"{name}: {about['in_contact']} of {about['of']} in contact; answer: {about['answer']}{notes}"
