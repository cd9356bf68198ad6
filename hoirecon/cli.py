"""The command line: ``hoirecon reconstruct photo.jpg --object barbell --object-box 0,150,180,60 --out out/``.

Every command is a dataclass; its fields, defaults and help text are the command's options (tyro). Errors that a user
can mend end in one sentence and exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hoirecon.cli_bench import Bench
from hoirecon.cli_contact import Contact, ContactConvert, split_contact
from hoirecon.cli_retrieval import IndexBuild, IndexInfo, IndexSearch, Retrieve, split_index
from hoirecon.cli_train import Train
from hoirecon.cli_values import given_once, numbers_of, parse_box, parse_points, parse_stroke, refuse_idle, which_person
from hoirecon.errors import HoireconError, InputError

if TYPE_CHECKING:
    from hoirecon.reconstruction import ReconstructConfig
    from hoirecon.requests import ObjectRequest
    from hoirecon.scene import Scene

EXIT_ERROR = 2

Words = tyro.conf.UseAppendAction[tuple[str, ...]]


@dataclass(frozen=True)
class Reconstruct:
    """Reconstruct a person and the objects they interact with from one photograph.

    For several objects repeat --object and, in the same order, one of --object-box and --object-mask.
    """

    image: tyro.conf.Positional[Path]
    """Photograph (JPEG, PNG, ...)."""
    object: Words = ()
    """Name of the object, e.g. barbell; `hoirecon objects` lists them."""
    object_box: Words = ()
    """x,y,width,height in pixels round the visible object."""
    object_mask: Words = ()
    """Mask file (white on the object), instead of a box."""
    object_points: str = ""
    """Pixels on the object: x,y;x,y;... (one object only)."""
    not_object_points: str = ""
    """Pixels not on the object: x,y;x,y;..."""
    object_stroke: Words = ()
    """Polyline along the object: x,y;x,y;... optionally :width. May be repeated (one object only)."""
    not_object_stroke: Words = ()
    """Polyline beside the object, likewise."""
    object_prompt: Path | None = None
    """JSON file with box, points, negative_points and scribbles, as in docs/photos.json (one object only)."""
    object_mesh: Path | None = None
    """Your own mesh of the object (one object only)."""
    mesh_unit: Literal["m", "cm", "mm", "auto", "none"] = "m"
    """Unit of that mesh's file; with none it is repaired, turned upright and sized by its name."""
    index: Path | None = None
    """Folder of an index (`hoirecon index build`): the mesh is chosen from it instead of the library."""
    index_weights: Path | None = None
    """Folder of the weights of that index's encoder."""
    out: Path = Path("out")
    """Folder for the result; an earlier result there is replaced."""
    person: int | None = None
    """Which person, counted from 0 at the left; by default the one who touches the object."""
    person_box: str = ""
    """x,y,width,height in pixels round the person meant."""
    person_mask: Path | None = None
    """Mask file of that person's visible pixels, instead of the detector's; it also says which person."""
    focal_px: float | None = None
    """Focal length in pixels; by default EXIF, else a 50 mm-equivalent lens is assumed."""
    focal_35mm: float | None = None
    """35 mm-equivalent focal length in millimetres."""
    intrinsics: str = ""
    """fx,fy,cx,cy in pixels, if the camera is calibrated."""
    distortion: str = ""
    """Lens coefficients k1,k2,p1,p2[,k3] in OpenCV's order, with --intrinsics; the photograph is straightened first."""
    height: float | None = None
    """The person's stature in metres, if known: it sets the scale of the scene."""
    body: Path | None = None
    """Your own SMPL-H file (.npz or .pkl); by default the free body."""
    detector_weights: Path | None = None
    """Folder of an OWL-ViT or OWLv2 model: finds the object by its name, so that no box is needed."""
    detector_adapter: Path | None = None
    """LoRA adapter of that model (peft)."""
    sam_checkpoint: Path | None = None
    """Segment Anything checkpoint: segments by SAM instead of GrabCut."""
    contact_weights: Path | None = None
    """Folder of InteractVLM weights, or `tiny`, the small model that ships: contact by it instead of by geometry."""
    hypotheses: int = 256
    """Start poses of the object fit, evenly turned; fewer is faster, 64 loses about a tenth of the scenes."""
    quiet: bool = False
    """No progress bars."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.files import check_replaceable
        from hoirecon.scene_io import JSON_NAME

        requests = self._from_index(self._requests())
        check_replaceable(self.out, JSON_NAME)  # before the work, not after it
        scene = self._reconstruct(requests)
        folder = scene.save(self.out)
        print(summary(scene, folder))
        return 0

    def _reconstruct(self, requests: list[ObjectRequest]) -> Scene:
        from hoirecon.data.body import load_body
        from hoirecon.reconstruction import reconstruct

        return reconstruct(
            self.image,
            requests,
            camera=self._camera(),
            distortion=numbers_of(self.distortion, "the distortion") if self.distortion else None,
            focal_px=self.focal_px,
            focal_35mm=self.focal_35mm,
            person=which_person(self.person, self.person_box, self.person_mask),
            person_mask=self.person_mask,
            body_model=load_body(self.body) if self.body else None,
            contact=self.contact_weights,
            box_finder=self._box_finder(),
            segmenter=self._segmenter(),
            config=self._config(),
            progress=not self.quiet,
        )

    def _requests(self) -> list[ObjectRequest]:
        from hoirecon.requests import ObjectRequest

        self._check_used()
        if not self.object:
            raise InputError("name the object with --object, e.g. --object barbell; `hoirecon objects` lists the names")
        prompt = self._prompt()
        if len(self.object) == 1:
            box, mask = given_once(self.object_box, "--object-box"), given_once(self.object_mask, "--object-mask")
            numbers = parse_box(box) if box and prompt is None else None  # a prompt holds the box itself
            return [ObjectRequest(self.object[0], numbers, mask, prompt, self.object_mesh, self.mesh_unit)]
        if prompt is not None or self.object_mesh is not None:
            raise InputError("points, strokes and --object-mesh go with one --object; give boxes or masks for several")
        boxes: list[Any] = [parse_box(text) for text in self.object_box]
        masks: list[Any] = list(self.object_mask)
        if not boxes and not masks and self.detector_weights:
            return [ObjectRequest(name) for name in self.object]
        if (len(boxes) or len(masks)) != len(self.object) or (boxes and masks):
            raise InputError(
                f"{len(self.object)} objects need as many --object-box, or as many --object-mask; "
                f"got {len(boxes)} and {len(masks)}"
            )
        boxes, masks = boxes or [None] * len(masks), masks or [None] * len(boxes)
        return [ObjectRequest(n, b, m) for n, b, m in zip(self.object, boxes, masks, strict=True)]

    def _check_used(self) -> None:
        """Refuse what would do nothing beside the other options."""
        marks = (*self.object_box, self.object_points, self.not_object_points, *self.object_stroke)
        refuse_idle(any((*marks, *self.not_object_stroke)) and self.object_prompt is not None,
                    "--object-prompt holds box, points and strokes: give them there, or leave it out")  # fmt: skip
        refuse_idle(bool(self.index_weights) and self.index is None, "--index-weights are of an --index: give it too")
        refuse_idle(bool(self.detector_adapter) and self.detector_weights is None,
                    "--detector-adapter belongs to --detector-weights: give them too")  # fmt: skip
        refuse_idle(self.mesh_unit != "m" and self.object_mesh is None,
                    "--mesh-unit is the unit of --object-mesh: give it too")  # fmt: skip

    def _from_index(self, requests: list[ObjectRequest]) -> list[ObjectRequest]:
        """The requests with the index as the source of meshes, if one is given."""
        if self.index is None:
            return requests
        if self.object_mesh is not None:
            raise InputError("the mesh is given by --object-mesh or found by --index: give one of them")
        from hoirecon.retrieval.retriever import Retriever

        source = Retriever.load(self.index, self.index_weights)
        return [replace(request, mesh=source) for request in requests]

    def _prompt(self) -> Any:
        """A prompt of points and strokes; None if there are none."""
        from hoirecon.files import read_json
        from hoirecon.perception.protocols import MaskPrompt

        if self.object_prompt is not None:
            return MaskPrompt.from_dict(read_json(self.object_prompt))
        strokes = [parse_stroke(text, True) for text in self.object_stroke]
        strokes += [parse_stroke(text, False) for text in self.not_object_stroke]
        points, negative = parse_points(self.object_points), parse_points(self.not_object_points)
        if not (strokes or points or negative):
            return None
        box = given_once(self.object_box, "--object-box")
        return MaskPrompt(parse_box(box) if box else None, points, negative, tuple(strokes))

    def _camera(self) -> Any:
        """Camera of given intrinsics, which needs the size of the image; None if none are given."""
        if not self.intrinsics:
            return None
        import numpy as np

        from hoirecon.camera import Camera
        from hoirecon.images import read_image

        numbers = numbers_of(self.intrinsics, "intrinsics")
        if len(numbers) != 4:
            raise InputError(f"intrinsics are fx,fy,cx,cy in pixels, got '{self.intrinsics}'")
        fx, fy, cx, cy = numbers
        picture = read_image(self.image)
        return Camera(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), picture.width, picture.height)

    def _box_finder(self) -> Any:
        if self.detector_weights is None:
            return None
        from hoirecon.perception.text_boxes import TextBoxFinder

        return TextBoxFinder(self.detector_weights, self.detector_adapter)

    def _segmenter(self) -> Any:
        if self.sam_checkpoint is None:
            return "grabcut"
        from hoirecon.perception.sam import SamSegmenter

        return SamSegmenter(self.sam_checkpoint)

    def _config(self) -> ReconstructConfig:
        from hoirecon.reconstruction import ReconstructConfig

        usual = ReconstructConfig()
        return replace(
            usual,
            body=replace(usual.body, height_m=self.height),
            fit=replace(usual.fit, hypotheses=self.hypotheses),
        )


@dataclass(frozen=True)
class Demo:
    """Reconstruct the bundled sample: a portrait of an astronaut with her helmet (NASA, public domain)."""

    out: Path = Path("out/demo")
    """Folder for the result."""
    quiet: bool = False
    """No progress bars."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.files import check_replaceable
        from hoirecon.sample import reconstruct_sample
        from hoirecon.scene_io import JSON_NAME

        check_replaceable(self.out, JSON_NAME)
        scene = reconstruct_sample(progress=not self.quiet)
        print(summary(scene, scene.save(self.out)))
        return 0


@dataclass(frozen=True)
class View:
    """Show a result in the browser, live."""

    folder: tyro.conf.Positional[Path]
    """Folder that `reconstruct` wrote."""
    port: int = 8080
    """Port on this machine."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.scene import Scene
        from hoirecon.views.viewer import view_scene

        view_scene(Scene.load(self.folder), port=self.port)
        return 0


@dataclass(frozen=True)
class Objects:
    """List the object library, or say what is known of one category."""

    name: tyro.conf.Positional[str] = ""
    """Category, alias or id (chair/plain); without it, all names."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.data.objects import get_category, list_categories, list_objects, load_object

        if not self.name:
            print("\n".join(list_categories()))
            return 0
        only = load_object(self.name).id if "/" in self.name else None
        category = get_category(only.partition("/")[0] if only else self.name)
        low, high = category.size_range(1.0)
        print(f"{category.name} (also: {', '.join(category.aliases) or '-'})")
        print(f"longest side: {category.size_median:g} m, usually {low:.2g} to {high:.2g} m")
        for name, pairs in category.interactions.items():
            print(f"interaction {name}: " + ", ".join(f"{a} at {b}" for a, b in pairs))
        for entry in [e for e in list_objects(category.name) if only in (None, e.id)]:
            print(f"mesh {entry.id}: {entry.licence}, {entry.author}")
        return 0


@dataclass(frozen=True)
class Models:
    """Model files that hoirecon does not carry itself: `hoirecon models fetch` takes BlazePose's two files (Apache-2.0)
    out of a package of the registry, by name and checksum."""

    action: tyro.conf.Positional[Literal["fetch"]]
    """What to do."""
    wheel: Path | None = None
    """The mediapipe wheel if you have it already."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.perception.models import fetch_models

        fetch_models(self.wheel)
        return 0


@dataclass(frozen=True)
class Doctor:
    """Say what is installed, what is missing and which weights are found; exit code 1 if a needed thing is missing."""

    def run(self) -> int:
        """Carry the command out."""
        from hoirecon.doctor import examine, report

        findings = examine()
        print(report(findings))
        return int(any(f.required and not f.ok for f in findings))


Command = (
    Annotated[Reconstruct, tyro.conf.subcommand("reconstruct")]
    | Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[View, tyro.conf.subcommand("view")]
    | Annotated[Contact, tyro.conf.subcommand("contact")]
    | Annotated[ContactConvert, tyro.conf.subcommand("contact-convert")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Retrieve, tyro.conf.subcommand("retrieve")]
    | Annotated[IndexBuild, tyro.conf.subcommand("index-build")]
    | Annotated[IndexInfo, tyro.conf.subcommand("index-info")]
    | Annotated[IndexSearch, tyro.conf.subcommand("index-search")]
    | Annotated[Objects, tyro.conf.subcommand("objects")]
    | Annotated[Models, tyro.conf.subcommand("models")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command ``hoirecon``."""
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; mendable errors are one sentence on stderr and code 2."""
    given = list(sys.argv[1:] if args is None else args)
    try:
        command: Any = tyro.cli(
            Command,
            prog="hoirecon",
            args=split_index(split_contact(given)),
            description="Human-object interaction reconstruction from one photograph.",
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
        )
    except HoireconError as err:
        print(f"hoirecon: {err}", file=sys.stderr)
        return EXIT_ERROR
    except SystemExit as stop:  # wrong usage of bench is 1, so that 2 means its input alone
        raise SystemExit(1 if stop.code == EXIT_ERROR and given[:1] == ["bench"] else stop.code) from None
    try:
        code: int = command.run()
        return code
    except HoireconError as err:
        print(f"hoirecon: {err}", file=sys.stderr)
    except KeyboardInterrupt:
        print("hoirecon: interrupted; what was not finished was not written", file=sys.stderr)
    return EXIT_ERROR


def summary(scene: Scene, folder: Path) -> str:
    """What a person wants to read after a run."""
    lines = [
        f"landmark error {100 * scene.measures['body/landmark_error_relative'].value:.1f} % of the person's height"
    ]
    for thing in scene.objects:
        iou = scene.measures[f"{thing.name}/iou_visible"].value
        size = scene.measures[f"{thing.name}/longest_side"].value
        deepest = scene.measures[f"{thing.name}/penetration"].value
        lines.append(f"{thing.name}: visible IoU {iou:.2f}, {size:.2f} m long, deepest penetration {deepest:.0f} mm")
    lines += [f"note: {flag}" for flag in scene.flags]
    return "\n".join([*lines, f"result: {folder}  (open {folder / 'report.html'})"])


if __name__ == "__main__":
    main()
