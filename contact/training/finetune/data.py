"""A recipe's data, opened for one network: what is drawn, what validates, and what the card says of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hoirecon.contact.inference.gallery import Gallery
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.prompting.tokenizer import ContactTokenizer
from hoirecon.contact.rendering.types import Renderer
from hoirecon.contact.rendering.view_cache import ViewCache
from hoirecon.contact.rendering.zbuffer import ZBufferRenderer
from hoirecon.contact.training.finetune.start import Wanted
from hoirecon.contact.training.public.batches import SampleMaker
from hoirecon.contact.training.public.catalogue import ContactSource
from hoirecon.contact.training.public.lessons import Source
from hoirecon.contact.training.public.mixing import Share
from hoirecon.contact.training.public.recipes import RECIPES, Recipe, open_recipe
from hoirecon.contact.training.public.splits import Subset
from hoirecon.contact.training.public.stage import Stage
from hoirecon.contact.training.public.texts import PartWords, TextConfig
from hoirecon.data.body import BodyModel, load_body
from hoirecon.data.datasets.stand_in_body import stand_in_mesh
from hoirecon.errors import InputError
from hoirecon.mesh import Mesh

FEET = ("left foot", "right foot")
STAND_IN_GROUPS = ("left_hand", "right_hand", "back", "left_foot", "right_foot")
"""Parts that are named on a stand-in, whose own are not known."""


@dataclass(frozen=True)
class DataConfig:
    """What is taught, and where it lies."""

    recipe: str = "damon"
    """Name in :data:`~hoirecon.contact.training.public.recipes.RECIPES`."""
    roots: Mapping[str, Path] | None = None
    """Folder of each data set by its name."""
    body: Path | None = None
    """SMPL-H's model file, a user's own: the labels on people are on its vertices. None is for stand-ins alone."""
    parts: Path | None = None
    """Which vertices each body part has (``smpl_segmentation_merged.pkl`` of the reference, or JSON), for the words of
    answers; None takes the parts of the free body, carried over."""
    validation: float = 0.05
    """Share of the training split's photographs that validate and are never trained on."""
    part_dropout: float | None = None
    """Share of questions on the body that are asked and answered without body parts; None takes the recipe's."""
    splits: Mapping[str, str] | None = None
    """Splits other than the recipe's, by data set."""
    lists: Path | None = None
    """Folder where lists of lessons are kept between runs."""


@dataclass(frozen=True, eq=False)
class Data:
    """A recipe that was opened."""

    recipe: Recipe
    """With the parts whose data were given."""
    text: TextConfig
    """How texts are drawn."""
    shares: tuple[Share, ...]
    validation: tuple[Subset, ...]
    body: BodyModel | Mesh | None
    """Whose vertices the labels on people are."""
    parts: PartWords | None

    @property
    def sources(self) -> list[Source]:
        """Training parts of all data sets."""
        return [source for share in self.shares for source in share.sources]

    @property
    def stand_in(self) -> bool:
        """Whether something in it is no real data: figures on it mean nothing."""
        return any(dataset.stand_in for dataset in _datasets(self.sources))

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on, beside what is drawn: how texts are made, and of which body."""
        body = self.body
        named = "" if body is None else body.name if isinstance(body, Mesh) else body.topology
        return {"text": asdict(self.text), "parts": [] if self.parts is None else list(self.parts.names), "body": named}

    @property
    def licences(self) -> dict[str, str]:
        """Licence of each data set, one line."""
        found = {dataset.name: dataset.licence for dataset in _datasets(self.sources)}
        others = {source.name for source in self.sources if _dataset(source) is None}
        return found | dict.fromkeys(sorted(others), "as its owners state: words and phrases on photographs of COCO")

    @property
    def left_out(self) -> dict[str, dict[str, int]]:
        """Source -> reason -> samples that cannot be drawn."""
        found = {}
        for source in self.sources:
            whole = source.source if isinstance(source, Subset) else source
            found[source.name] = dict(getattr(whole, "left_out", {}))
        return found


def wanted(recipe: str, given: Mapping[str, Any]) -> Wanted:
    """What a recipe asks of the network, with these data sets."""
    chosen = _recipe(recipe, given)
    return Wanted(
        chosen.token_type,
        chosen.human_views,
        chosen.object_views,
        "human" in chosen.tasks,
        bool({"object", "affordance"} & chosen.tasks),
        chosen.text.human_questions,
        chosen.text.affordance_questions,
    )


def roots_of(recipe: str, given: Sequence[str]) -> dict[str, Path]:
    """Folders of a recipe's data sets from what a user typed.

    Args:
        recipe: its name.
        given: ``NAME=FOLDER`` each; or one folder, which is that of the only data set, or holds one for each by name.

    Raises:
        InputError: no such data set in the recipe, a folder that is not there, or one that is not given.
    """
    names = _recipe_named(recipe).data
    if not given:
        raise InputError(f"'{recipe}' trains on {', '.join(names)}: give --data {names[0]}=FOLDER ...")
    roots: dict[str, Path] = {}
    for text in given:
        name, mark, folder = text.partition("=")
        if mark and name not in names:
            raise InputError(f"'{recipe}' has no data set '{name}', only {', '.join(names)}")
        if mark:
            roots[name] = Path(folder).expanduser()
        elif len(given) > 1:
            raise InputError(f"several folders need the names of their data sets: --data {names[0]}={text} ...")
        else:
            roots = _one_folder(names, Path(text).expanduser())
    if missing := [path for path in roots.values() if not path.is_dir()]:
        raise InputError(f"the folder {missing[0]} does not exist: the data are your own copies, see docs/datasets.md")
    _recipe(recipe, roots)
    return roots


def _one_folder(names: Sequence[str], folder: Path) -> dict[str, Path]:
    if len(names) == 1:
        return {names[0]: folder}
    return (
        {name: folder / name for name in names if (folder / name).is_dir()} if folder.is_dir() else {names[0]: folder}
    )


def _recipe_named(name: str) -> Recipe:
    if name not in RECIPES:
        raise InputError(f"there is no recipe '{name}': choose {', '.join(RECIPES)}")
    return RECIPES[name]


def _recipe(name: str, given: Mapping[str, Any]) -> Recipe:
    try:
        return _recipe_named(name).of(given)
    except InputError as err:
        raise InputError(f"'{name}': {err}") from None


def open_data(config: DataConfig) -> Data:
    """Open a recipe.

    Raises:
        InputError: folders or files that are missing or damaged, a part with nothing to draw, or no body to lay labels
            on.
    """
    roots = config.roots or {}
    recipe = _recipe(config.recipe, roots)
    text = recipe.text if config.part_dropout is None else replace(recipe.text, part_dropout=config.part_dropout)
    parts = None if config.parts is None else PartWords.read(config.parts)
    body = None if config.body is None else load_body(config.body)
    if parts is None and body is not None:
        parts = PartWords.of(body.parts)
    feet = parts.chosen(*FEET) if parts is not None and all(name in parts.names for name in FEET) else None
    shares, validation = open_recipe(
        config.recipe, roots, validation=config.validation, splits=config.splits, feet=feet, lists=config.lists
    )
    data = Data(recipe, text, tuple(shares), tuple(v for v in validation if v.entries), body, parts)
    return _with_body(data) if "human" in recipe.tasks and body is None else data


def _with_body(data: Data) -> Data:
    """With the free mesh that stands in for SMPL-H, if the labels are on it."""
    if not data.stand_in:
        raise InputError("labels on people are on SMPL-H's vertices: give your own model file with --body SMPLH_FILE")
    return replace(data, body=stand_in_mesh(), parts=data.parts or stand_in_parts())


def stand_in_parts() -> PartWords:
    """A few parts of the free body on the mesh that stands in for SMPL, by the nearest vertex."""
    from scipy.spatial import cKDTree

    free = load_body()
    nearest = cKDTree(free.rest_verts).query(stand_in_mesh().verts)[1]
    verts = tuple(np.flatnonzero(free.parts.mask_of(name)[nearest]) for name in STAND_IN_GROUPS)
    return PartWords(tuple(name.replace("_", " ") for name in STAND_IN_GROUPS), verts, len(nearest))


def sample_maker(
    data: Data,
    network: InteractVLMNetwork,
    tokenizer: ContactTokenizer,
    cache: ViewCache | None = None,
    renderer: Renderer | None = None,
    encode: bool = True,
) -> SampleMaker:
    """Makes samples of the data for a network.

    Args:
        data: what was opened.
        network: the one that is trained; its frozen encoder sees the views.
        tokenizer: its vocabulary.
        cache: keeps views and their features between runs.
        renderer: draws the views; None takes the fast z-buffer.
        encode: give features of the views in place of pictures.
    """
    stage = Stage(Gallery(network, renderer or ZBufferRenderer(), cache), data.body, encode)
    return SampleMaker(stage, tokenizer, data.parts, data.text)


def _dataset(source: Source) -> Any:
    whole = source.source if isinstance(source, Subset) else source
    return whole.dataset if isinstance(whole, ContactSource) else None


def _datasets(sources: Sequence[Source]) -> list[Any]:
    return [dataset for source in sources if (dataset := _dataset(source)) is not None]
