"""InteractVLM: from a photograph and an object's name to contact on the body, on the object and in the picture.

Dwivedi et al., "InteractVLM: 3D Interaction Reasoning from 2D Foundational Models", CVPR 2025. Render, Localize, Lift:

1. :mod:`~hoirecon.contact.rendering` draws the body and the object from fixed views (**render**);
2. :mod:`~hoirecon.contact.modeling.vlm` reads the photograph and the question and answers with a contact token, whose
   embedding :mod:`~hoirecon.contact.modeling.feat_lift` fits to each view, and with which
   :mod:`~hoirecon.contact.modeling.mv_loc` finds the contact in every view (**localize**);
3. :mod:`~hoirecon.contact.lifting` carries the masks to the vertices (**lift**).

model = InteractVLM.from_pretrained("weights/")
model.human_contact("photo.jpg", "tennis racket").to_parts()
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.contact.inference.gallery import Gallery, Subject
from hoirecon.contact.inference.looking import Look, Looker
from hoirecon.contact.inference.queries import ROLE_OF_KIND, Kind, Query
from hoirecon.contact.lifting import lift_human, lift_object_mesh, lift_object_points
from hoirecon.contact.modeling.config import CAMERA_NUMBERS
from hoirecon.contact.modeling.contact_tokens import Role
from hoirecon.contact.prompting.conversation import readable_answer
from hoirecon.contact.prompting.parts import named_parts
from hoirecon.contact.prompting.templates import question as template
from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.contact.results import ImageContact, JointContact
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

if TYPE_CHECKING:
    from hoirecon.contact.inference.generation import Answer
    from hoirecon.contact.modeling.network import InteractVLMNetwork
    from hoirecon.contact.prompting.tokenizer import ContactTokenizer
    from hoirecon.contact.protocols import ContactEstimate, ContactObject
    from hoirecon.contact.rendering.types import Renderer
    from hoirecon.contact.rendering.view_cache import ViewCache
    from hoirecon.data.body import BodyModel
    from hoirecon.observation import Observation
    from hoirecon.pose import ObjectPose
    from hoirecon.scene import SceneBody

SOURCE = "interactvlm"
"""What its contact maps say of their origin."""

NO_TOKEN = "the answer holds no contact token: no contact is reported"
SEVERAL_TOKENS = "the answer holds {n} contact tokens: the first is taken"
OTHER_TOKEN = "the answer holds the {role} contact token where another was expected"
STAND_IN = (
    "the weights were trained on views of SMPL-H; these are of '{topology}': give your SMPL-H file as body_model for "
    "the published accuracy"
)
UNTRAINED = "these weights were not trained for contact on {what}: do not trust this"
SMPLH_VERTS = 6890
MAX_QUESTION = 600
"""Longest question in own words, characters."""
VIEWS_PREFIX = "views."
"""Before the key of encoded views among the extra tensors of a saved folder."""
CUT_OFF = "the answer was cut off after {n} tokens"


@dataclass(frozen=True)
class EstimatorConfig:
    """Settings of the estimator."""

    lift: Literal["soft", "legacy"] = "soft"
    """How masks become contact on a body: ``soft`` probabilities (since the reference's correction), or ``legacy``,
    the hard votes that older checkpoints were published with."""
    human_questions: Literal["auto", "parts", "simple"] = "auto"
    """Template of questions on the body; ``auto`` takes what the weights were trained with."""
    object_questions: Literal["auto", "simple", "afford", "afford_obj"] = "auto"
    """Template of questions on an object's contact, likewise."""
    question_index: int = 0
    """Which of a template's five wordings; 0 is the one of the reference's demo."""
    released_demo_prompt: bool = False
    """Ask for affordance with the reference demo's stray quotes and comma instead of the wording of its training."""
    max_new_tokens: int = 512
    """Longest answer."""
    person_margin: float = 0.2
    """What is kept round a person's box, relative to its longer side."""
    photographs_kept: int = 2
    """Photographs whose encoding is kept for further questions; at full size each takes 0.3 GB."""
    view_batch: int = 4
    """Views encoded at the same time."""

    def __post_init__(self) -> None:
        if self.lift not in ("soft", "legacy"):
            raise InputError(f"there is no lift '{self.lift}': choose soft or legacy")
        if self.max_new_tokens < 1 or self.photographs_kept < 1 or self.view_batch < 1:
            raise InputError("max_new_tokens, photographs_kept and view_batch must be at least 1")


@dataclass(frozen=True)
class _Localised:
    """One query's answer, and its masks if there are any."""

    text: str
    notes: tuple[str, ...]
    logits: Tensor | None
    """(V, S, S) of the views, or (1, H, W) of the photograph."""


class InteractVLM:
    """The contact estimator; :meth:`from_pretrained` makes one from a folder of weights.

    Args:
        network: the network.
        tokenizer: its vocabulary.
        body_model: whose vertices human contact is given on; None takes the free body.
        config: settings.
        renderer: draws the views; None takes the fast z-buffer.
        cache: ``default`` keeps rendered and encoded views in the user's cache folder, None in memory only, or a
            :class:`~hoirecon.contact.rendering.view_cache.ViewCache`.
        body_views: folder of body pictures and maps in the released layout (``hcontact_vitruvian``), to take instead of
            rendering the body.
        encoded: embeddings of views that came with the weights.
        released: whether the weights are the authors', which know SMPL-H's views only.
    """

    name = SOURCE

    def __init__(
        self,
        network: InteractVLMNetwork,
        tokenizer: ContactTokenizer,
        *,
        body_model: BodyModel | None = None,
        config: EstimatorConfig | None = None,
        renderer: Renderer | None = None,
        cache: ViewCache | Literal["default"] | None = "default",
        body_views: str | Path | None = None,
        encoded: Mapping[str, Tensor] | None = None,
        released: bool = False,
    ) -> None:
        from hoirecon.contact.rendering.view_cache import ViewCache
        from hoirecon.contact.rendering.zbuffer import ZBufferRenderer

        self.network = network.eval()
        self.tokenizer = tokenizer
        self.config = config or EstimatorConfig()
        self.released = released
        self._body_model = body_model
        kept = ViewCache() if cache == "default" else cache
        self.gallery = Gallery(
            network, renderer or ZBufferRenderer(), kept, self.config.view_batch, dict(encoded or {}), body_views
        )
        self.looker = Looker(network, tokenizer, self.config.photographs_kept, self.config.person_margin)

    # ---------------------------------------------------------------------------------------------------- in and out

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype = "auto",
        quantize: Literal["int8", "int4"] | None = None,
        vision_tower: str | Path | None = None,
        separate_decoders: Literal["keep", "collapse"] = "keep",
        body_model: BodyModel | None = None,
        config: EstimatorConfig | None = None,
        renderer: Renderer | None = None,
        cache: ViewCache | Literal["default"] | None = "default",
        body_views: str | Path | None = None,
    ) -> InteractVLM:
        """Read a released checkpoint as it is, or a folder that :meth:`save_pretrained` or ``contact convert`` wrote.

        Args:
            folder: the checkpoint's folder.
            device: where torch runs it.
            dtype: ``auto`` takes bfloat16 where the hardware is fast with it and float32 elsewhere; or a type.
            quantize: keep the language model's matrices in 8 or 4 bits (our own folders only).
            vision_tower: folder of the CLIP tower, which released folders do not hold; None looks beside them and in
                the local Hugging Face cache.
            separate_decoders: a checkpoint with three mask decoders (``DifDe``) keeps them; ``collapse`` uses the
                object's for everything, as the reference does after loading.
            body_model: whose vertices human contact is given on; None takes the free body.
            config: settings of the estimator.
            renderer: draws the views; None takes the fast z-buffer.
            cache: where rendered and encoded views are kept, see the class.
            body_views: folder of the released body pictures and maps, see the class.

        Raises:
            InputError: the folder, a file or a tensor in it cannot be used, or there is too little memory; the
                message names which, and what to do.
            MissingExtraError: transformers, sentencepiece or segment-anything are not installed (extras vlm, sam).
        """
        from hoirecon.contact.checkpoints.open import open_checkpoint
        from hoirecon.contact.inference.precision import choose_dtype
        from hoirecon.contact.prompting.tokenizer import ContactTokenizer

        chosen = choose_dtype(device, dtype)
        loaded = open_checkpoint(
            folder,
            device=device,
            dtype=chosen,
            quantize=quantize,
            vision_tower=vision_tower,
            separate_decoders=separate_decoders,
        )
        return cls(
            loaded.network,
            ContactTokenizer.from_folder(loaded.tokenizer_folder),
            body_model=body_model,
            config=config,
            renderer=renderer,
            cache=cache,
            body_views=body_views,
            encoded=_views_beside(loaded.extras),
            released=loaded.kind == "released" or bool(loaded.manifest.get("released")),
        )

    # ----------------------------------------------------------------------------------------------------- questions

    def human_contact(
        self, image: Any, label: str, *, person: Any = None, question: str | None = None, view_masks: bool = False
    ) -> ContactMap:
        """Where the body touches the thing.

        Args:
            image: path, RGB uint8 array, PIL image, or what :meth:`look` gave.
            label: the object's name; ``scene`` asks for the ground and what else supports the person.
            person: box (x, y, width, height) in pixels or mask (H, W) of the person meant; None looks at the whole
                photograph, as the reference does.
            question: own words in place of the template, ``{object}`` standing for the name.
            view_masks: also keep what MV-Loc drew in each view.

        Returns:
            Probability per vertex of :attr:`body_model`.
        """
        query = Query("human", image, label, person=person, question=question)
        result = self.ask([query], view_masks=view_masks)[0]
        assert isinstance(result, ContactMap)
        return result

    def object_contact(
        self,
        image: Any,
        label: str,
        mesh: Any,
        *,
        person: Any = None,
        question: str | None = None,
        view_masks: bool = False,
    ) -> ContactMap:
        """Where the thing is touched by the person.

        Args:
            image: as in :meth:`human_contact`.
            label: the object's name.
            mesh: :class:`~hoirecon.mesh.Mesh`, trimesh mesh, scene or point cloud, (N, 3) array, or a file's path.
            person: as in :meth:`human_contact`.
            question: own words in place of the template.
            view_masks: also keep what MV-Loc drew in each view.

        Returns:
            Probability per vertex of the mesh, or per point.
        """
        query = Query("object", image, label, mesh=mesh, person=person, question=question)
        result = self.ask([query], view_masks=view_masks)[0]
        assert isinstance(result, ContactMap)
        return result

    def affordance(self, image: Any, label: str, mesh: Any, *, person: Any = None) -> ContactMap:
        """Where the thing is used, as :meth:`object_contact`; the answer names the affordance."""
        result = self.ask([Query("affordance", image, label, mesh=mesh, person=person)])[0]
        assert isinstance(result, ContactMap)
        return result

    def image_contact(self, image: Any, label: str, *, person: Any = None, question: str | None = None) -> ImageContact:
        """Which pixels of the photograph show the body touching the thing; for one person, pixels of the whole
        photograph, zero outside what was looked at."""
        result = self.ask([Query("image", image, label, person=person, question=question)])[0]
        assert isinstance(result, ImageContact)
        return result

    def joint_contact(
        self,
        image: Any,
        labels: Sequence[str],
        meshes: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        person: Any = None,
    ) -> list[JointContact]:
        """Contact with each of several things, the photograph looked at once and all answers written together.

        Args:
            image: as in :meth:`human_contact`.
            labels: the objects' names.
            meshes: by name, or in the order of the names (None for an object without); None gives the body only.
            person: as in :meth:`human_contact`.
        """
        by_label = _meshes_of(labels, meshes)
        queries = [Query("human", image, label, person=person) for label in labels]
        queries += [Query("object", image, label, mesh=by_label[i], person=person) for i, label in
                    enumerate(labels) if by_label[i] is not None]  # fmt: skip
        results = iter([result for result in self.ask(queries) if isinstance(result, ContactMap)])
        humans = [next(results) for _ in labels]
        objects = [next(results) if mesh is not None else None for mesh in by_label]
        return [JointContact(*parts) for parts in zip(labels, humans, objects, strict=True)]

    @torch.no_grad()
    def look(self, image: Any, person: Any = None) -> Look:
        """Encode a photograph; give the result in place of ``image`` to ask about it again and again."""
        return self.looker.look_at_all([(image, person)])[0]

    @torch.no_grad()
    def ask(self, queries: Sequence[Query], *, view_masks: bool = False) -> list[ContactMap | ImageContact]:
        """Answer any mix of questions with every photograph, body and object encoded once.

        Equal to asking one by one. Questions on the same photograph are answered together.

        Raises:
            InputError: an image, a name or a mesh cannot be used.
        """
        self._check(queries)
        looks = self.looker.look_at_all([(query.image, query.person) for query in queries])
        subjects = [self.subject_of(query) for query in queries]  # a mesh that cannot be used is said before the work
        answers = self._answer(queries, looks)
        asked = zip(queries, looks, subjects, answers, strict=True)
        return [self._result(q, look, s, self._masks(q, look, s, answer), view_masks) for q, look, s, answer in asked]

    def estimate(
        self,
        observation: Observation,
        body: SceneBody,
        obj: ContactObject,
        pose: ObjectPose | None = None,
        object_index: int = 0,
    ) -> ContactEstimate:
        """Contact of a fitted body with an object of a photograph, as the reconstruction asks for it.

        What the weights were not trained for (the object of a human-only checkpoint) is taken from
        :class:`~hoirecon.contact.geometric.GeometricContact`, and the flags say so.

        Raises:
            TopologyError: the body is not of :attr:`body_model`.
        """
        from hoirecon.contact.scene_contact import estimate_in_scene

        return estimate_in_scene(self, observation, body, obj, pose, object_index)

    # ----------------------------------------------------------------------------------------------------- what it is

    @cached_property
    def body_model(self) -> BodyModel:
        """The body whose vertices human contact is given on."""
        from hoirecon.data.body import load_body

        return self._body_model or load_body()

    @cached_property
    def body_mesh(self) -> Mesh:
        """That body in the Vitruvian pose of its views, metres."""
        from hoirecon.contact.rendering.body_views import vitruvian_pose

        return Mesh(vitruvian_pose(self.body_model), self.body_model.faces, "body")

    @property
    def trained_for(self) -> frozenset[Role]:
        """What the weights learned: ``human``, ``object``, or only ``general`` (contact in the image)."""
        config = self.network.config
        weights: dict[Role, float] = {"human": config.human_weight, "object": config.object_weight}
        return frozenset(role for role, weight in weights.items() if weight > 0) or frozenset({"general"})

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the network, its vocabulary and the body's encoded views as a folder of our own format.

        Raises:
            InputError: the folder cannot be written, or holds something else.
        """
        from hoirecon.contact.checkpoints.native import save_network

        body = self._body
        views = {} if self.network.config.num_views == 1 else {body.key: self.gallery.features(body)}
        with tempfile.TemporaryDirectory(prefix="hoirecon-tokenizer-") as tokenizer:
            self.tokenizer.save(tokenizer)
            extras = {VIEWS_PREFIX + key: features.cpu() for key, features in views.items()}
            save_network(self.network, folder, tokenizer_folder=tokenizer, extras=extras, released=self.released)
        return Path(folder)

    # ------------------------------------------------------------------------------------------------------- localize

    def _check(self, queries: Sequence[Query]) -> None:
        views = self.network.config.num_views
        for query in queries:
            if query.kind not in ROLE_OF_KIND:
                raise InputError(f"there is no kind of question '{query.kind}': choose {', '.join(ROLE_OF_KIND)}")
            if query.kind in ("object", "affordance") and query.mesh is None:
                raise InputError(f"contact on the {query.label} needs its mesh or points: give mesh=...")
            if query.kind != "image" and views == 1:
                raise InputError(
                    "these weights segment the photograph only (they know one view): ask image_contact, or take "
                    "weights for contact in 3D"
                )

    def _answer(self, queries: Sequence[Query], looks: Sequence[Look]) -> list[Answer]:
        texts = [self.question_of(query) for query in queries]
        given = [query.answer for query in queries]
        return self.looker.answer_all(looks, texts, given, self.config.max_new_tokens)

    def question_of(self, query: Query) -> str:
        """What the language model will be asked."""
        if query.question is not None:
            name = self.tokenizer.neutralise(query.label)
            return self.tokenizer.neutralise(query.question.replace("{object}", name), limit=MAX_QUESTION)
        role, kind = self._template(query.kind)
        demo = self.config.released_demo_prompt
        return template(role, kind, query.label, self.config.question_index, released_demo_prompt=demo)

    def _template(self, kind: Kind) -> tuple[Role, str]:
        """Whose questions, and which of them."""
        config, trained = self.config, self.network.config
        if kind == "image":
            return "human", "simple"
        if kind == "human":
            return "human", trained.human_questions if config.human_questions == "auto" else config.human_questions
        if kind == "affordance" and config.object_questions == "auto":
            return "object", "afford"
        return "object", trained.object_questions if config.object_questions == "auto" else config.object_questions

    def _masks(self, query: Query, look: Look, subject: Subject | None, answer: Answer) -> _Localised:
        """The masks of the answer's first contact token."""
        expected = ROLE_OF_KIND[query.kind]
        tokens, text = self.network.config.tokens, readable_answer(self.tokenizer.decode(answer.ids))
        notes = () if answer.finished else (CUT_OFF.format(n=len(answer.ids)),)
        if len(answer.contact_ids) == 0:
            return _Localised(text, (*notes, NO_TOKEN), None)
        if len(answer.contact_ids) > 1:
            notes = (*notes, SEVERAL_TOKENS.format(n=len(answer.contact_ids)))
        first = answer.contact_ids[0]
        if query.kind != "image" and first != tokens.id_of(expected):
            notes = (*notes, OTHER_TOKEN.format(role=tokens.role_of(first)))
        features, cameras, sizes = self._views(look, subject)
        prompts = self.network.contact_prompts(answer.states[:1], answer.contact_ids[:1], cameras)
        low = self.network.mv_loc.localize(prompts, features, expected)
        return _Localised(text, notes, self.network.mv_loc.upscale(low.logits, *sizes)[0])

    def _views(
        self, look: Look, subject: Subject | None
    ) -> tuple[Tensor, Tensor | None, tuple[tuple[int, int], tuple[int, int]]]:
        """Embeddings to decode, cameras to tell FeatLift, and the sizes before and after scaling back."""
        if subject is None:
            unknown = look.sam_features.new_zeros(self.network.config.num_views, CAMERA_NUMBERS)
            return look.sam_features, unknown, (look.sam_size, look.size)
        square = (self.network.config.sam.img_size,) * 2
        return self.gallery.features(subject), self.gallery.cameras(subject), (square, square)

    def subject_of(self, query: Query) -> Subject | None:
        """The body or object that a query is about, as it is looked at; None for the photograph itself."""
        if query.kind == "image":
            return None
        if query.kind == "human":
            return self._body
        return self.gallery.object(query.mesh)

    @cached_property
    def _body(self) -> Subject:
        return self.gallery.body(self.body_model)

    # ----------------------------------------------------------------------------------------------------------- lift

    def _result(
        self, query: Query, look: Look, subject: Subject | None, found: _Localised, view_masks: bool
    ) -> ContactMap | ImageContact:
        if subject is None:
            return self._in_image(query, look, found)
        probability = self._lift(query, subject, found.logits)
        parts = self.body_model.parts if query.kind == "human" else None
        masks = None
        if view_masks and found.logits is not None:
            masks = dict(zip(subject.table.names, _numpy(torch.sigmoid(found.logits)), strict=True))
        return ContactMap(
            probability,
            subject.topology,
            SOURCE,
            label=query.label,
            answer=found.text,
            named_parts=named_parts(found.text, tuple(parts.names) if parts else ()),
            notes=(*found.notes, *self._doubts(query)),
            parts={name: parts.verts_of(name) for name in parts.names} if parts else {},
            view_masks=masks,
        )

    def _lift(self, query: Query, subject: Subject, logits: Tensor | None) -> FloatArray:
        if logits is None:
            return np.zeros(len(subject.surface.verts))
        maps = self.gallery.rendered(subject).maps
        if not isinstance(maps, PixelMaps):
            lifted = lift_object_points(torch.sigmoid(logits)[None], maps)
        elif query.kind == "human":
            lifted = lift_human(logits[None], maps, form=self.config.lift)
        else:
            lifted = lift_object_mesh(logits[None], maps)
        return _numpy(lifted[0].clamp(0, 1))

    def _in_image(self, query: Query, look: Look, found: _Localised) -> ImageContact:
        seen = np.zeros(look.size) if found.logits is None else _numpy(torch.sigmoid(found.logits[0]))
        probability = look.in_photograph(seen)
        return ImageContact(probability, query.label, found.text, (*found.notes, *self._doubts(query)))

    def _doubts(self, query: Query) -> tuple[str, ...]:
        """What makes this answer less sure than the published figures."""
        doubts = []
        role = ROLE_OF_KIND[query.kind]
        if query.kind != "image" and role not in self.trained_for:
            doubts.append(UNTRAINED.format(what="bodies" if role == "human" else "objects"))
        if self.released and query.kind == "human" and self.body_model.num_verts != SMPLH_VERTS:
            doubts.append(STAND_IN.format(topology=self.body_model.topology))
        return tuple(doubts)


def _views_beside(extras: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Embeddings of views among the tensors that came with the weights."""
    return {name.removeprefix(VIEWS_PREFIX): t for name, t in extras.items() if name.startswith(VIEWS_PREFIX)}


def _numpy(values: Tensor) -> FloatArray:
    return np.asarray(values.double().cpu().numpy())


def _meshes_of(labels: Sequence[str], meshes: Mapping[str, Any] | Sequence[Any] | None) -> list[Any]:
    """One mesh or None for each name.

    Raises:
        InputError: a mesh of an object that is not named, or not as many as names.
    """
    if isinstance(labels, str) or not labels:
        raise InputError("joint_contact takes a list of object names, with at least one")
    if meshes is None:
        return [None] * len(labels)
    if isinstance(meshes, Mapping):
        if unknown := [name for name in meshes if name not in labels]:
            raise InputError(f"there is a mesh of '{unknown[0]}', which is not among the objects {list(labels)}")
        return [meshes.get(label) for label in labels]
    if len(meshes) != len(labels):
        raise InputError(f"{len(labels)} objects need as many meshes (or None in their place), got {len(meshes)}")
    return list(meshes)
