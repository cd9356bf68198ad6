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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from hoirecon.arrays import FloatArray
from hoirecon.contact.inference.asking import ANY_THING, question_of, word_of
from hoirecon.contact.inference.gallery import Gallery, Subject
from hoirecon.contact.inference.localizing import Localized, Localizer, probability
from hoirecon.contact.inference.looking import Look, Looker
from hoirecon.contact.inference.queries import ROLE_OF_KIND, Query, meshes_of
from hoirecon.contact.inference.settings import EstimatorConfig as EstimatorConfig
from hoirecon.contact.lifting import lift_human, lift_object_mesh, lift_object_points
from hoirecon.contact.modeling.contact_tokens import ContactTokens, Role
from hoirecon.contact.prompting.parts import named_parts
from hoirecon.contact.rendering.types import PixelMaps
from hoirecon.contact.results import ImageContact, JointContact
from hoirecon.contact_map import ContactMap
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

if TYPE_CHECKING:
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

STAND_IN = (
    "the weights were trained on views of SMPL-H; these are of '{topology}': give your SMPL-H file as body_model for "
    "the published accuracy"
)
USUAL = (
    "mostly what is usual for a {label} at these places of its box, in the axes of the library's meshes: a mesh that "
    "stands otherwise gets it in the wrong place"
)
UNTRAINED = "these weights were not trained for contact on {what}: do not trust this"
SMPLH_VERTS = 6890
VIEWS_PREFIX = "views."
"""Before the key of encoded views among the extra tensors of a saved folder."""

Result = ContactMap | ImageContact


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
        label: name of the weights.

    Raises:
        InputError: the vocabulary is not the network's.
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
        label: str = "",
    ) -> None:
        from hoirecon.contact.rendering.view_cache import ViewCache
        from hoirecon.contact.rendering.zbuffer import ZBufferRenderer

        _check_vocabulary(tokenizer, network.config.tokens)
        self.network = network.eval()
        self.tokenizer = tokenizer
        self.config = config or EstimatorConfig()
        self.released = released
        self.label = label
        self._body_model = body_model
        kept = ViewCache() if cache == "default" else cache
        self.gallery = Gallery(
            network, renderer or ZBufferRenderer(), kept, self.config.view_batch, dict(encoded or {}), body_views
        )
        self.looker = Looker(network, tokenizer, self.config.photographs_kept, self.config.person_margin)
        self.localizer = Localizer(self.gallery, self.looker)

    def __repr__(self) -> str:
        config, views = self.network.config, self.network.config.num_views
        where = "the photograph" if views == 1 else f"{views} views"
        return (
            f"<InteractVLM{' ' * bool(self.label)}{self.label}: trained for {' and '.join(sorted(self.trained_for))} "
            f"contact in {where}{', released weights' * self.released}; tokens {config.tokens.token_type}; "
            f"{str(self.dtype).removeprefix('torch.')} on {self.device}>"
        )

    # ---------------------------------------------------------------------------------------------------- in and out

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype = "auto",
        quantize: Literal["int8", "int4"] | None = None,
        verify: bool = False,
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
            folder: the checkpoint's folder, or ``tiny``: the small model that comes with the package, which sees
                landmarks and masks in place of photographs (see docs/small-model.md).
            device: where torch runs it.
            dtype: ``auto`` takes bfloat16 where the hardware is fast with it and float32 elsewhere; or a type.
            quantize: keep the language model's matrices in 8 or 4 bits (our own folders only).
            verify: hold the files against their checksums first (our own folders only); reads everything twice.
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
        from hoirecon.contact.checkpoints.layout import TOKENIZER_FOLDER
        from hoirecon.contact.checkpoints.open import kind_of, open_checkpoint, shipped
        from hoirecon.contact.inference.precision import choose_dtype
        from hoirecon.contact.prompting.tokenizer import ContactTokenizer

        folder = shipped(folder)
        chosen = choose_dtype(device, dtype)
        words = Path(folder) / TOKENIZER_FOLDER if kind_of(folder) == "native" else Path(folder)
        tokenizer = ContactTokenizer.from_folder(words)  # what is missing is said before gigabytes are read
        loaded = open_checkpoint(
            folder,
            device=device,
            dtype=chosen,
            quantize=quantize,
            verify=verify,
            vision_tower=vision_tower,
            separate_decoders=separate_decoders,
        )
        return cls(
            loaded.network,
            tokenizer,
            body_model=body_model,
            config=config,
            renderer=renderer,
            cache=cache,
            body_views=body_views,
            encoded=_views_beside(loaded.extras),
            released=loaded.released,
            label=loaded.name,
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
        return _on_surface(self.ask([query], view_masks=view_masks)[0])

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
        return _on_surface(self.ask([query], view_masks=view_masks)[0])

    def affordance(
        self,
        image: Any,
        label: str,
        mesh: Any,
        *,
        person: Any = None,
        question: str | None = None,
        view_masks: bool = False,
    ) -> ContactMap:
        """Where the thing is used, as :meth:`object_contact`; the answer names the affordance."""
        query = Query("affordance", image, label, mesh=mesh, person=person, question=question)
        return _on_surface(self.ask([query], view_masks=view_masks)[0])

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
        view_masks: bool = False,
    ) -> list[JointContact]:
        """Contact with each of several things, the photograph looked at once and all answers written together.

        Args:
            image: as in :meth:`human_contact`.
            labels: the objects' names.
            meshes: by name, or in the order of the names (None for an object without); None gives the body only.
            person: as in :meth:`human_contact`.
            view_masks: also keep what MV-Loc drew in each view.
        """
        by_label = meshes_of(labels, meshes)
        asked = [i for i, mesh in enumerate(by_label) if mesh is not None]
        queries = [Query("human", image, label, person=person) for label in labels]
        queries += [Query("object", image, labels[i], mesh=by_label[i], person=person) for i in asked]
        results = [_on_surface(result) for result in self.ask(queries, view_masks=view_masks)]
        things = dict(zip(asked, results[len(labels) :], strict=True))
        return [JointContact(label, results[i], things.get(i)) for i, label in enumerate(labels)]

    @torch.no_grad()
    def look(self, image: Any, person: Any = None) -> Look:
        """Encode a photograph; give the result in place of ``image`` to ask about it again and again."""
        return self.looker.look_at_all([(image, person)])[0]

    @torch.no_grad()
    def ask(self, queries: Sequence[Query], *, view_masks: bool = False) -> list[Result]:
        """Answer any mix of questions with every photograph, body and object encoded once.

        Equal to asking one by one. Questions are answered together, as many at a time as the settings say.

        Args:
            queries: the questions; put those on one photograph next to one another.
            view_masks: also keep what MV-Loc drew in each view.

        Returns:
            A :class:`~hoirecon.contact_map.ContactMap` each, or an :class:`ImageContact` for kind ``image``.

        Raises:
            InputError: an image, a name or a mesh cannot be used; said before any question is answered, but for
                images beyond the first batch.
        """
        if isinstance(queries, Query):
            raise InputError("ask takes a list of queries: put this one in brackets")
        self._check(queries)
        questions = [self.question_of(query) for query in queries]
        subjects = [self.subject_of(query) for query in queries]
        step, results = self.config.questions_at_once, list[Result]()
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            results += self._ask(queries[part], questions[part], subjects[part], view_masks)
        return results

    def _ask(
        self, queries: Sequence[Query], questions: Sequence[str], subjects: Sequence[Subject | None], view_masks: bool
    ) -> list[Result]:
        looks = self.looker.look_at_all([(query.image, query.person) for query in queries])
        given = [self._given(query) for query in queries]
        answers = self.looker.answer_all(looks, questions, given, self.config.max_new_tokens)
        results = []
        for query, question, look, subject, answer in zip(queries, questions, looks, subjects, answers, strict=True):
            found = self.localizer.find(query.kind, look, question, answer, subject, query.label)
            results.append(self._result(query, look, subject, found, view_masks))
        return results

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

        return load_body() if self._body_model is None else self._body_model

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
        learned = frozenset(role for role, weight in weights.items() if weight > 0 and config.num_views > 1)
        return learned or frozenset({"general"})

    def knows_object(self, label: str) -> bool:
        """Whether contact on an object of this name can be asked for: a model that knows objects by what is usual for
        their names (``object_head``) needs a name that it was taught."""
        if self.network.object_head is None:
            return "object" in self.trained_for
        return "object" in self.trained_for and word_of(label, self.tokenizer) != word_of(ANY_THING, self.tokenizer)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.network.vlm.projector.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """In which numbers it computes."""
        return self.network.vlm.projector.weight.dtype

    def to(self, device: str | torch.device) -> InteractVLM:
        """Move it to another device; encodings that were kept are made or read again there.

        Raises:
            InputError: the device is not there.
        """
        from hoirecon.contact.inference.precision import checked_device

        self.network.to(checked_device(device))
        self.looker.forget()
        self.gallery.forget()
        return self

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the network, its vocabulary and the body's encoded views as a folder of our own format.

        Raises:
            InputError: the folder cannot be written, or holds something else.
        """
        from hoirecon.contact.checkpoints.native import save_network

        extras = {}
        if self.network.config.num_views > 1:
            name = VIEWS_PREFIX + self.gallery.named(self._body.key)
            extras[name] = self.gallery.features(self._body).cpu()
        with tempfile.TemporaryDirectory(prefix="hoirecon-tokenizer-") as words:
            self.tokenizer.save(words)
            save_network(
                self.network,
                folder,
                name=self.label or None,
                released=self.released,
                tokenizer_folder=words,
                extras=extras,
            )
        return Path(folder)

    # ----------------------------------------------------------------------------------------- question and subject

    def _check(self, queries: Sequence[Query]) -> None:
        views = self.network.config.num_views
        for query in queries:
            if query.kind not in ROLE_OF_KIND:
                raise InputError(f"there is no kind of question '{query.kind}': choose {', '.join(ROLE_OF_KIND)}")
            if query.kind in ("object", "affordance") and query.mesh is None:
                raise InputError(f"contact on the {str(query.label)[:80]} needs its mesh or points: give mesh=...")
            if query.kind == "image" and self.network.config.sees_evidence:
                raise InputError("this model sees landmarks and masks, not the photograph: it finds no contact in it")
            if query.kind != "image" and views == 1:
                raise InputError(
                    "these weights segment the photograph only (they know one view): ask image_contact, or take "
                    "weights for contact in 3D"
                )

    def question_of(self, query: Query) -> str:
        """What the language model will be asked."""
        return question_of(query, self.tokenizer, self.network.config, self.config)

    def _given(self, query: Query) -> str | None:
        """The answer to take instead of generating one."""
        if query.answer is None:
            return None
        return query.answer.replace("{token}", self.network.config.tokens.word_of(ROLE_OF_KIND[query.kind]))

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

    def _result(self, query: Query, look: Look, subject: Subject | None, found: Localized, view_masks: bool) -> Result:
        notes = (*found.notes, *self._doubts(query))
        if subject is None:
            seen = torch.zeros(look.size) if found.logits is None else probability(found.logits[0])
            return ImageContact(look.in_photograph(seen.cpu().numpy()), query.label, found.text, notes)
        values = self._lift(query, subject, found)
        parts = self.body_model.parts if query.kind == "human" else None
        masks = None
        if view_masks and found.logits is not None:
            masks = dict(zip(subject.table.names, probability(found.logits).cpu().numpy(), strict=True))
        return ContactMap(
            values,
            subject.topology,
            SOURCE,
            label=query.label,
            answer=found.text,
            named_parts=named_parts(found.text, tuple(parts.names)) if parts else (),
            notes=notes,
            parts={name: parts.verts_of(name) for name in parts.names} if parts else {},
            view_masks=masks,
        )

    def _lift(self, query: Query, subject: Subject, found: Localized) -> FloatArray:
        logits, state = found.logits, found.state
        if logits is None or state is None:
            return np.zeros(len(subject.surface.verts))
        maps = self.gallery.rendered(subject).maps
        if not isinstance(maps, PixelMaps):
            lifted = lift_object_points(torch.sigmoid(logits)[None], maps)
        elif query.kind == "human":
            lifted = lift_human(logits[None], maps, form=self.config.lift)
            if self.config.lift == "soft":
                lifted = self.network.with_vertex_head(lifted[0], state)[None]
        else:
            lifted = lift_object_mesh(logits[None], maps)
            verts = torch.as_tensor(subject.surface.verts, device=lifted.device)
            lifted = self.network.with_object_head(lifted[0], state, word_of(query.label, self.tokenizer), verts)[None]
        return np.asarray(lifted[0].clamp(0, 1).double().cpu().numpy())

    def _doubts(self, query: Query) -> tuple[str, ...]:
        """What makes this answer less sure than the published figures."""
        doubts = []
        role = ROLE_OF_KIND[query.kind]
        if query.kind != "image" and role not in self.trained_for:
            doubts.append(UNTRAINED.format(what="bodies" if role == "human" else "objects"))
        if role == "object" and self.network.object_head is not None:
            doubts.append(USUAL.format(label=str(query.label)[:80]))
        if self.released and query.kind == "human" and self.body_model.num_verts != SMPLH_VERTS:
            doubts.append(STAND_IN.format(topology=self.body_model.topology))
        return tuple(doubts)


def _views_beside(extras: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Embeddings of views among the tensors that came with the weights."""
    return {name.removeprefix(VIEWS_PREFIX): t for name, t in extras.items() if name.startswith(VIEWS_PREFIX)}


def _on_surface(result: Result) -> ContactMap:
    assert isinstance(result, ContactMap)  # of every kind but image
    return result


def _check_vocabulary(tokenizer: ContactTokenizer, tokens: ContactTokens) -> None:
    """Refuse words of one model with the network of another."""
    known = tokenizer.contact_tokens(tokens.token_type)
    if known != tokens:
        raise InputError(
            f"the tokenizer has its contact tokens at {known.ids}, the network at {tokens.ids}: take the tokenizer "
            "that came with the weights"
        )
