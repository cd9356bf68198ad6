"""What the published models were trained on: data sets, rates, words (Dwivedi et al., "InteractVLM", CVPR 2025).

roots = {"damon": DAMON_DIR, "lemon": LEMON_DIR}
shares, validation = open_recipe("damon", roots)

Two things differ on purpose: validation is a part of the training split (the reference's is the test split, on which
it chose its best epoch), and entries are drawn without repeats until all were seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hoirecon.contact.prompting.templates import SCENE_WORD, SUPPORT_WORD
from hoirecon.contact.training.public.catalogue import ContactSource
from hoirecon.contact.training.public.conversations import open_conversations
from hoirecon.contact.training.public.lessons import Source, Task
from hoirecon.contact.training.public.mixing import Share
from hoirecon.contact.training.public.referring import open_reasoning, open_refcoco
from hoirecon.contact.training.public.splits import Subset, train_and_validation
from hoirecon.contact.training.public.texts import PartWords, TextConfig
from hoirecon.data.datasets import open_dataset
from hoirecon.errors import InputError


@dataclass(frozen=True)
class Part:
    """One data set of a recipe."""

    data: str
    """Name of :func:`hoirecon.data.datasets.open_dataset`; ``vqa`` is a folder of HOI-VQA's files, ``reasonseg`` and
    ``refcoco`` (its photographs in ``images/``) are LISA's."""
    task: Task
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the dataset's reader."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """See :class:`~hoirecon.contact.training.public.catalogue.ContactSource`."""


@dataclass(frozen=True)
class Recipe:
    """One published model's data."""

    shares: tuple[tuple[float, tuple[Part, ...]], ...]
    """Rates, and what shares each."""
    text: TextConfig = field(default_factory=TextConfig)
    token_type: str = "Gen"
    human_views: str = "4MV-Z_Vitru"
    object_views: str = "4MV-Z_HM"
    needs_all: bool = True
    """Whether every data set must be there; else what is not given is left out."""

    @property
    def data(self) -> tuple[str, ...]:
        """Names of the data sets that it needs, each once."""
        return tuple(dict.fromkeys(part.data for _, parts in self.shares for part in parts))

    @property
    def tasks(self) -> frozenset[Task]:
        """What it teaches."""
        return frozenset(part.task for _, parts in self.shares for part in parts)

    def of(self, given: Collection[str]) -> Recipe:
        """The recipe for the data sets that are there: all that it needs, or those that it can have.

        Raises:
            InputError: one that it needs is not there, or none is.
        """
        missing = [data for data in self.data if data not in given]
        if missing and (self.needs_all or len(missing) == len(self.data)):
            raise InputError(f"the recipe needs the folder of {', '.join(missing)}: the data are your own copies")
        kept = [(rate, tuple(part for part in parts if part.data in given)) for rate, parts in self.shares]
        return replace(self, shares=tuple((rate, parts) for rate, parts in kept if parts))


_DAMON = Part("damon", "human", {"per": "object"})
_DAMON_SCENE = Part("damon", "human", {"per": "object"}, {SUPPORT_WORD: SCENE_WORD})
_LEMON = Part("lemon", "human")
_RICH = Part("rich", "human")
_USED = (Part("piad", "affordance"), Part("lemon", "affordance"))
_VQA = Part("vqa", "words")
_PICO = Part("pico", "object")
_REFERRING = (Part("reasonseg", "image"), Part("refcoco", "image"))

RECIPES: Mapping[str, Recipe] = {
    "damon": Recipe(((1.0, (_DAMON,)),), human_views="4MV-Z_Vitru_mv2"),
    "damon-noparts": Recipe(((1.0, (_DAMON,)),), TextConfig(human_questions="simple"), human_views="4MV-Z_Vitru_mv2"),
    "scene": Recipe(
        ((9.0, (_DAMON_SCENE, _LEMON)), (3.0, (_RICH,)), (1.0, (_VQA,))),
        TextConfig(part_dropout=0.0),
        human_views="4MV-Z_Vitru_FootGround",
    ),
    "affordance": Recipe(((1.0, _USED),), TextConfig(part_dropout=0.0)),
    "joint": Recipe(
        (
            (9.0, (_DAMON, _LEMON)),
            (9.0, (_PICO,)),
            (5.0, _USED),
            (2.0, (_VQA,)),
        ),
        TextConfig(part_dropout=0.0),
        "Gen-Hu-Obj",
        object_views="4MV-Z_HM_BM",
    ),
    "all": Recipe(
        ((9.0, (_DAMON, _LEMON)), (3.0, (_RICH,)), (9.0, (_PICO,)), (5.0, _USED), (2.0, (_VQA,)), (2.0, _REFERRING)),
        TextConfig(),
        "Gen-Hu-Obj",
        "4MV-Z_Vitru_mv2",
        "4MV-Z_HM_BM",
        needs_all=False,
    ),
}
"""By name. ``scene`` is asked about what supports a person: give ``feet``. ``all`` is nobody's published mix: ``joint``
with scenes, phrases and dropped body parts, of whatever data are given."""

TRAIN_SPLITS = {"damon": "trainval", "lemon": "train", "piad": "seen-train", "pico": "train", "rich": "train"}
"""Split that is trained on; PICO-db, which has none, is read whole with ``splits={"pico": "all"}``."""


def open_recipe(
    name: str,
    roots: Mapping[str, str | Path],
    *,
    validation: float = 0.05,
    salt: int = 0,
    without: frozenset[str] = frozenset(),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    splits: Mapping[str, str] | None = None,
    feet: PartWords | None = None,
    lists: Path | None = None,
) -> tuple[list[Share], list[Subset]]:
    """Open a recipe's data.

    Args:
        name: of :data:`RECIPES`.
        roots: folder of each data set by name; ``vqa`` holds ``*.json`` of conversations and their photographs,
            ``refcoco`` its own files and COCO's photographs in ``images``.
        validation: share of the photographs that validate.
        salt: another one makes another validation split.
        without: groups that are neither trained nor validated on, e.g. photographs of a test split.
        options: further options of the readers, by data set.
        splits: splits other than :data:`TRAIN_SPLITS`, by data set.
        feet: the two feet, e.g. ``parts.chosen("left foot", "right foot")``: of DAMON's support the recipe ``scene``
            keeps what they touch, as the reference does; None keeps all of it.
        lists: folder where lists of lessons are kept between runs.

    Returns:
        What a :class:`~hoirecon.contact.training.public.mixing.Mixture` takes, and the validation parts of all
        sources of contact.

    Raises:
        InputError: no such recipe, or a data set whose folder is not given.
    """
    if name not in RECIPES:
        raise InputError(f"there is no recipe '{name}': choose {', '.join(RECIPES)}")
    try:
        recipe = RECIPES[name].of(roots)
    except InputError as err:
        raise InputError(f"'{name}': {err}") from None
    shares, kept = [], []
    for rate, parts in recipe.shares:
        sources: list[Source] = []
        for part in parts:
            split = {**TRAIN_SPLITS, **(splits or {})}.get(part.data, "")
            sources += _sources(
                part, Path(roots[part.data]), split, dict((options or {}).get(part.data, {})), feet, lists
            )
        train, held = train_and_validation(sources, validation, salt, without)
        shares.append(Share(rate, tuple(train)))
        kept += [subset for subset in held if subset.entries and subset.entries[0].task != "words"]
    return shares, kept


def _sources(
    part: Part, root: Path, split: str, options: dict[str, Any], feet: PartWords | None, lists: Path | None
) -> list[Source]:
    if part.data == "vqa":
        files = sorted(root.glob("*.json"))
        if not files:
            raise InputError(f"{root} has no JSON of conversations")
        return [open_conversations(path, root) for path in files]
    if part.data == "reasonseg":
        return [open_reasoning(root)]
    if part.data == "refcoco":
        return [open_refcoco(root, root / "images")]
    dataset = open_dataset(part.data, root, split, **{**part.options, **options})
    return [ContactSource(dataset, (part.task,), part.rename, feet if SUPPORT_WORD in part.rename else None, lists)]
