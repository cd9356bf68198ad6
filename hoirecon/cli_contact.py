"""Commands of contact: ``hoirecon contact photo.jpg --object cup --weights DIR``, ``contact convert``, ``bench``.

The options are the fields of the dataclasses, as in :mod:`hoirecon.cli`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.mesh import Mesh

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
    view_masks: bool = False
    """Also keep what MV-Loc drew in each view, in the npz files."""
    person_box: str = ""
    """x,y,width,height in pixels round the person meant; by default the whole photograph is looked at."""
    body: Path | None = None
    """Your own SMPL-H file (.npz or .pkl); by default the free body."""
    vision_tower: Path | None = None
    """Folder of CLIP ViT-L/14, which released checkpoints do not hold; by default the local Hugging Face cache."""
    lift: Literal["soft", "legacy"] = "soft"
    """How masks become contact: `soft` probabilities, or the hard votes that older checkpoints were published with."""
    device: str = "cpu"
    """Where torch runs it, e.g. cuda."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision; `auto` takes bfloat16 where the hardware is fast with it."""
    quantize: Literal["none", "int8", "int4"] = "none"
    """Keep the language model's matrices in 8 or 4 bits."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.files import atomic_folder, check_replaceable

        self._check()
        check_replaceable(self.out, CONTACT_JSON)
        model = self._model()
        meshes = [_read_mesh(path) for path in self.mesh]
        results = self._results(model, meshes)
        with atomic_folder(self.out, CONTACT_JSON) as folder:
            for name, result in results.items():
                self._save(result, folder / name)
            if self.picture:
                self._draw(model, meshes, results, folder / "contact.jpg")
            summary = {name: _about(result) for name, result in results.items()}
            (folder / CONTACT_JSON).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        print("\n".join(_line(name, about) for name, about in summary.items()))
        print(f"result: {self.out}")
        return 0

    def _check(self) -> None:
        if not self.object:
            raise InputError('name the object with --object, e.g. --object "tennis racket"')
        if self.mesh and len(self.mesh) != len(self.object):
            raise InputError(f"{len(self.object)} objects need as many --mesh or none, got {len(self.mesh)}")
        if self.kind == "affordance" and not self.mesh:
            raise InputError("affordance is laid on a mesh: give it with --mesh")

    def _model(self) -> InteractVLM:
        from hoirecon.contact import InteractVLM
        from hoirecon.contact.estimator import EstimatorConfig
        from hoirecon.data.body import load_body

        return InteractVLM.from_pretrained(
            self.weights,
            device=self.device,
            dtype=self.dtype,
            quantize=None if self.quantize == "none" else self.quantize,
            vision_tower=self.vision_tower,
            body_model=load_body(self.body) if self.body else None,
            config=EstimatorConfig(lift=self.lift),
        )

    def _results(self, model: InteractVLM, meshes: list[Mesh]) -> dict[str, Any]:
        """Results by file name without ending."""
        from hoirecon.contact.inference.queries import Query

        person = None
        if self.person_box:
            from hoirecon.cli import parse_box

            person = parse_box(self.person_box)
        names = [f"{i:02d}_{_file_name(name)}" for i, name in enumerate(self.object)]
        asked: dict[str, Query] = {}
        for i, (name, label) in enumerate(zip(names, self.object, strict=True)):
            mesh = meshes[i] if meshes else None
            if self.kind == "image":
                asked[f"{name}_image"] = Query("image", self.image, label, person=person)
            elif self.kind == "affordance":
                asked[f"{name}_affordance"] = Query("affordance", self.image, label, mesh=mesh, person=person)
            else:
                asked[f"{name}_human"] = Query("human", self.image, label, person=person)
                if mesh is not None:
                    asked[f"{name}_object"] = Query("object", self.image, label, mesh=mesh, person=person)
        return dict(zip(asked, model.ask(list(asked.values()), view_masks=self.view_masks), strict=True))

    def _save(self, result: Any, path: Path) -> None:
        from hoirecon.contact.results import ImageContact
        from hoirecon.safe_io import write_arrays, write_png

        if isinstance(result, ImageContact):
            write_arrays({"probability": result.probability}, path.with_suffix(".npz"))
            write_png((result.mask()[..., None] * 255).astype("uint8").repeat(3, axis=2), path.with_suffix(".png"))
        else:
            result.save(path.with_suffix(".npz"), layout="reference" if self.reference_layout else "hoirecon")

    def _draw(self, model: InteractVLM, meshes: list[Mesh], results: Mapping[str, Any], path: Path) -> None:
        from PIL import Image

        from hoirecon.contact_map import ContactMap
        from hoirecon.images import read_image
        from hoirecon.views import contact_sheet

        rgb = read_image(self.image).rgb
        if self.kind == "image":
            from hoirecon.views import draw_image_contact

            sheet = draw_image_contact(rgb, [(r.label, r.probability) for r in results.values()])
        else:
            on_body = [r for name, r in results.items() if name.endswith("_human")]
            on_objects = [r for name, r in results.items() if not name.endswith("_human")]
            body = (model.body_mesh, ContactMap.merge(on_body)) if on_body else None
            sheet = contact_sheet(rgb, body, list(zip(meshes, on_objects, strict=True)))
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

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.contact.checkpoints.convert import convert_released

        print(f"result: {convert_released(self.released, self.out, vision_tower=self.vision_tower)}")
        return 0


@dataclass(frozen=True)
class ContactCost:
    """Count operations of the full-size contact estimator, the reference's procedure and ours; needs no weights."""

    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.contact.cost import contact_cost, cost_text

        cost = contact_cost()
        print(_json(cost) if self.json else cost_text(cost))
        return 0


@dataclass(frozen=True)
class ContactSpeed:
    """Time our way against the reference's procedure, on a small network with random weights, in one process."""

    json: bool = False
    """Print JSON instead of a table."""
    device: str = "cpu"
    """Where torch runs it."""
    repeats: int = 3
    """Runs of each, one after the other in turn; medians are given."""
    seed: int = 1000
    """Seed of the weights and the photograph."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.contact.speed import contact_speed, speed_text

        speed = contact_speed(device=self.device, repeats=self.repeats, seed=self.seed)
        print(_json(speed) if self.json else speed_text(speed))
        return 0


@dataclass(frozen=True)
class Bench:
    """Measure."""

    what: (
        Annotated[ContactCost, tyro.conf.subcommand("contact-cost")]
        | Annotated[ContactSpeed, tyro.conf.subcommand("contact-speed")]
    )

    def run(self) -> int:
        """Carry the command out."""
        return self.what.run()


def split_contact(args: list[str]) -> list[str]:
    """``contact convert A B`` becomes ``contact-convert A B``, so that ``contact`` can take a photograph directly.

    Example:
        >>> split_contact(["contact", "convert", "A", "B"])
        ['contact-convert', 'A', 'B']
    """
    return ["contact-convert", *args[2:]] if args[:2] == ["contact", "convert"] else args


def _json(value: Any) -> str:
    return json.dumps(value, indent=1)


def _read_mesh(path: Path) -> Any:
    from hoirecon.contact.rendering.surfaces import read_thing

    return read_thing(path)


def _file_name(label: str) -> str:
    """A name for a file: letters and digits only."""
    return "".join(c if c.isalnum() else "_" for c in label.lower())[:40] or "object"


def _about(result: Any) -> dict[str, Any]:
    probability = result.probability
    about = {
        "label": result.label,
        "answer": result.answer,
        "notes": list(result.notes),
        "in_contact": int((probability > 0.5).sum()),
        "of": int(probability.size),
    }
    return about if not hasattr(result, "named_parts") else about | {"named_parts": list(result.named_parts)}


def _line(name: str, about: dict[str, Any]) -> str:
    notes = "".join(f"\n  note: {note}" for note in about["notes"])
    return f"{name}: {about['in_contact']} of {about['of']} in contact; answer: {about['answer']}{notes}"
