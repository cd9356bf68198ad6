"""What a question costs: floating-point operations of the reference's procedure and of ours, counted without weights.

The network is made on torch's meta device (shapes without memory) and the very modules that run are counted by torch's
own counter, so that a change of the code changes the table. One multiply-add counts as two operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hoirecon.contact.inference.generation import answer, prefill
from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.contact.modeling.vlm import IMAGE_TOKEN

TERA = 1e12
GIGA = 1e9


@dataclass(frozen=True)
class CostCase:
    """One photograph, a question on the body and one on the object; lengths are those of the paper's prompts."""

    config: NetworkConfig = field(default_factory=NetworkConfig)
    """Sizes; the default is the 13B network."""
    prefix_tokens: int = 38
    """Tokens of system text, role and image marks, which every question on a photograph shares."""
    question_tokens: int = 36
    """Tokens of each question and the role that answers."""
    answer_tokens: int = 32
    """Tokens of each answer, its end included."""
    questions: int = 2
    """Questions on the photograph: one on the body, one on the object."""

    @property
    def shared(self) -> int:
        """Positions that the questions share: the image's patches and the text round them."""
        return self.prefix_tokens + self.config.vision.num_patches

    @property
    def prompt(self) -> int:
        """Positions before the answer."""
        return self.shared + self.question_tokens


def contact_cost(case: CostCase | None = None) -> dict[str, Any]:
    """Count the reference's procedure and ours, in TFLOP.

    Returns:
        ``{"reference": {"tflop", "parts"}, "ours": {"new_mesh_tflop", "cached_tflop", "parts"}, "case", "vram_gb"}``.
        A new mesh is one whose views were never encoded; for a cached one they come from the disk. The views of the
        body are constant, and come with the model.
    """
    case = case or CostCase()
    with torch.device("meta"), torch.no_grad():
        network = InteractVLMNetwork(case.config).to(torch.bfloat16).eval()
        reference = _reference_parts(network, case)
        ours = _our_parts(network, case)
    new_mesh = sum(ours.values())
    return {
        "reference": {"tflop": _tera(sum(reference.values())), "parts": _table(reference)},
        "ours": {
            "new_mesh_tflop": _tera(new_mesh),
            "cached_tflop": _tera(new_mesh - ours["sam_object_views"]),
            "parts": _table(ours),
        },
        "case": {k: v for k, v in asdict(case).items() if k != "config"} | {"shared_positions": case.shared},
        "vram_gb": memory_table(case),
    }


def _reference_parts(network: InteractVLMNetwork, case: CostCase) -> dict[str, float]:
    """Every token reads the whole text again, every question encodes all its views, the body's too."""
    n, views = case.questions, case.config.num_views
    lengths = range(case.prompt, case.prompt + case.answer_tokens)
    return {
        "clip": n * _count(lambda: network.vlm.image_tokens(_clip_pixels(case))),
        "language": n * _summed(lambda length: _read_all(network, case, length), lengths),
        "token_projection": n * _count(lambda: network.token_projection(_states(case, lengths[-1]))),
        "sam_body_views": _encode(network, case, views),
        "sam_object_views": (n - 1) * _encode(network, case, views),
        "mask_decoder": n * _decode(network, case, views),
    }


def _quadratic(count: Callable[[int], float], at: tuple[int, int, int]) -> np.polynomial.Polynomial:
    """Counts at any length from three: every operation is at most quadratic in the length, so this is exact."""
    return np.polynomial.Polynomial.fit(at, [count(length) for length in at], deg=2)


def _summed(count: Callable[[int], float], lengths: range) -> float:
    """Sum of counts over consecutive lengths."""
    if len(lengths) < 3:
        return sum(count(length) for length in lengths)
    counts = _quadratic(count, (lengths[0], lengths[len(lengths) // 2], lengths[-1]))
    return float(counts(np.array(lengths)).sum())


def _read_all(network: InteractVLMNetwork, case: CostCase, length: int) -> float:
    return _count(lambda: network.vlm.logits(network.vlm.hidden(_states(case, length)[None])))


def _our_parts(network: InteractVLMNetwork, case: CostCase) -> dict[str, float]:
    """The image once, the shared text once, one position for each token, the body's views never.

    This runs ``prefill`` and ``answer`` themselves: without weights every picked token is padding, so that an answer
    has exactly the length that is asked for.
    """
    n, views, vlm = case.questions, case.config.num_views, network.vlm
    text = [1] * (case.prefix_tokens - 1)
    image = torch.empty(case.config.vision.num_patches, case.config.language.hidden_size, dtype=torch.bfloat16)
    prefix = prefill(vlm, [*text, IMAGE_TOKEN, 1], image)
    questions = [[1] * case.question_tokens] * n
    contact = case.config.tokens.ids

    def answers(tokens: int) -> float:
        return _count(lambda: answer(vlm, prefix, questions, contact_ids=contact, max_new_tokens=tokens))

    return {
        "clip": _count(lambda: vlm.image_tokens(_clip_pixels(case))),
        "language_prefix": _count(lambda: prefill(vlm, [*text, IMAGE_TOKEN, 1], image)),
        "language_answers": float(_quadratic(answers, (1, 3, 5))(case.answer_tokens)),
        "token_projection": n * _count(lambda: network.token_projection(_states(case, 1))),
        "sam_body_views": 0.0,
        "sam_object_views": (n - 1) * _encode(network, case, views),
        "mask_decoder": n * _decode(network, case, views),
    }


def _encode(network: InteractVLMNetwork, case: CostCase, views: int) -> float:
    side = case.config.sam.img_size
    return views * _count(lambda: network.mv_loc.encode(torch.empty(1, 3, side, side, dtype=torch.bfloat16)))


def _decode(network: InteractVLMNetwork, case: CostCase, views: int) -> float:
    sam = case.config.sam
    prompts = torch.empty(1, views, case.config.prompt_dim, dtype=torch.bfloat16)
    features = torch.empty(views, sam.out_chans, sam.grid, sam.grid, dtype=torch.bfloat16)
    return _count(lambda: network.mv_loc.localize(prompts, features, "general"))


def _clip_pixels(case: CostCase) -> Tensor:
    side = case.config.vision.image_size
    return torch.empty(1, 3, side, side, dtype=torch.bfloat16)


def _states(case: CostCase, length: int) -> Tensor:
    return torch.empty(length, case.config.language.hidden_size, dtype=torch.bfloat16)


def _count(run: Callable[[], Any]) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        run()
    return float(counter.get_total_flops())


def _tera(flops: float) -> float:
    return round(flops / TERA, 3)


def _table(parts: dict[str, float]) -> dict[str, float]:
    return {name: _tera(flops) for name, flops in parts.items()}


def memory_table(case: CostCase) -> dict[str, dict[str, float]]:
    """Gigabytes of weights and of the cache of keys and values, by the precision of the language model's matrices.

    All other weights are in bfloat16 (float32 in the first row). Work space of a running layer comes on top; it
    was not measured on a GPU.
    """
    with torch.device("meta"):
        network = InteractVLMNetwork(case.config)
    language = network.vlm.language_model
    matrices = sum(m.weight.numel() for m in language.model.layers.modules() if isinstance(m, torch.nn.Linear))
    others = sum(p.numel() for p in network.parameters()) - matrices
    positions = case.prompt + case.answer_tokens
    sizes = case.config.language
    head = sizes.hidden_size // sizes.num_heads
    cache = 2 * sizes.num_layers * sizes.num_key_value_heads * head * positions * case.questions
    rows = {"float32": (4.0, 4.0), "bfloat16": (2.0, 2.0), "int8": (1.0, 2.0), "int4": (0.5 + 2 / 64, 2.0)}
    return {
        name: {
            "weights": round((matrices * matrix + others * rest) / GIGA, 2),
            "key_value_cache": round(cache * rest / GIGA, 2),
        }
        for name, (matrix, rest) in rows.items()
    }


def cost_text(cost: dict[str, Any]) -> str:
    """The counts as a table that a person reads."""
    reference, ours = cost["reference"], cost["ours"]
    names = list(dict.fromkeys([*reference["parts"], *ours["parts"]]))
    rows = [("TFLOP", "reference", "ours, new mesh")]
    rows += [(n, _cell(reference["parts"].get(n)), _cell(ours["parts"].get(n))) for n in names]
    rows.append(("all", _cell(reference["tflop"]), _cell(ours["new_mesh_tflop"])))
    rows.append(("all, cached mesh", "", _cell(ours["cached_tflop"])))
    table = "\n".join(f"{a:<20}{b:>12}{c:>16}" for a, b, c in rows)
    memory = [f"{n:<20}{v['weights']:>9.2f} GB of weights, {v['key_value_cache']:.2f} GB of keys and values"
              for n, v in cost["vram_gb"].items()]  # fmt: skip
    return "\n".join([table, "", *memory])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
