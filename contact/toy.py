"""A small network of the same architecture with random weights that says what it is told to: for tests, for the speed
bench, and for trying the interface before one has weights. What it finds is noise.

model = toy_model()
query = Query("human", "photo.jpg", "bottle")
teach_answers(model, {query: "The contacting body parts are left_palm, and the contact region is {token}."})
model.ask([query])[0].named_parts    # ('left_palm',)
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hoirecon.contact.inference.preprocess import clip_pixels
from hoirecon.contact.inference.queries import ROLE_OF_KIND, Query
from hoirecon.contact.modeling.config import LanguageConfig, NetworkConfig, VisionConfig
from hoirecon.contact.modeling.contact_tokens import ContactTokens, words_to_add
from hoirecon.contact.prompting.conversation import prefix_ids, question_ids
from hoirecon.errors import require
from hoirecon.sam_network import SamConfig

if TYPE_CHECKING:
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.contact.modeling.network import InteractVLMNetwork

TEXTS = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the human's questions. USER: ASSISTANT:",
    "Which body parts are in contact with the tennis racket? Segment these contact areas.",
    "Segment the area on the bottle where the human is making direct contact in this image.",
    "The contacting body parts are left_palm, right_palm, and the contact region is .",
    "What type of affordance does the human-object interaction suggest? The affordance type is grasp.",
)
"""What its vocabulary is made from."""


@dataclass(frozen=True)
class ToySize:
    """How small."""

    hidden: int
    layers: int
    heads: int
    clip: tuple[int, int, int, int]
    """Width, layers, image side, patch side."""
    sam: tuple[int, int, int, int, int]
    """Image side, width, depth, window, channels out."""


SIZES = {
    "tiny": ToySize(128, 2, 4, (32, 2, 28, 14), (96, 32, 2, 4, 32)),
    "small": ToySize(384, 8, 8, (128, 4, 224, 28), (512, 192, 6, 7, 64)),
}
"""``tiny`` for tests (a question takes some 50 ms), ``small`` for timing."""

LOUDNESS = 1.5
"""Size of random matrices relative to what keeps a signal's size."""


def toy_config(
    size: str = "tiny", token_type: str = "Gen-Hu-Obj", vocab_size: int = 400, **changes: Any
) -> NetworkConfig:
    """Sizes of a toy network; ``changes`` replace fields of :class:`NetworkConfig`."""
    s = SIZES[size]
    width, layers, image, patch = s.clip
    side, embed, depth, window, out = s.sam
    plain = vocab_size - len(words_to_add(token_type))
    ids = dict(zip(words_to_add(token_type), range(plain, vocab_size), strict=True))
    human = ids.get("[HSEG]", ids.get("[ISEG]"))
    config = NetworkConfig(
        language=LanguageConfig(vocab_size, s.hidden, 2 * s.hidden, s.layers, s.heads, s.heads),
        vision=VisionConfig(width, 2 * width, layers, 4, image, patch),
        sam=SamConfig(
            img_size=side, embed_dim=embed, depth=depth, num_heads=4, window_size=window,
            global_attn_indexes=(depth - 1,), out_chans=out, decoder_mlp_dim=2 * out, iou_head_hidden_dim=out,
        ),
        tokens=ContactTokens(ids["[SEG]"], human, ids.get("[OSEG]", human), token_type),
        prompt_dim=out,
        human_weight=3.0,
        object_weight=3.0,
    )  # fmt: skip
    return replace(config, **changes)


def write_toy_tokenizer(folder: Path, token_type: str = "Gen-Hu-Obj", texts: Sequence[str] = TEXTS) -> int:
    """Write a small vocabulary with the released folders' files.

    Returns:
        Number of tokens, the added ones included.
    """
    spm = require("sentencepiece", extra="vlm")
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(list(texts) * 5), model_writer=model, vocab_size=380, model_type="bpe",
        byte_fallback=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, add_dummy_prefix=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    count = int(spm.SentencePieceProcessor(model_proto=model.getvalue()).vocab_size())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    added = {word: count + i for i, word in enumerate(words_to_add(token_type))}
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
    settings = {**special, "tokenizer_class": "LlamaTokenizer", "legacy": True, "model_max_length": 512}
    for name, content in (
        ("added_tokens", added), ("special_tokens_map", special), ("tokenizer_config", settings),
    ):  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return count + len(added)


def toy_network(config: NetworkConfig, seed: int = 0) -> InteractVLMNetwork:
    """Random weights, large enough everywhere for every part to matter."""
    from hoirecon.contact.modeling.network import InteractVLMNetwork

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = InteractVLMNetwork(config)
        for name, parameter in network.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:  # these start at zero
                torch.nn.init.normal_(parameter, std=0.02)
            elif "output_hypernetworks_mlps" in name:  # a fresh decoder says 0.50 everywhere
                parameter.data.mul_(3.0)
            elif parameter.ndim == 2 and not name.startswith("mv_loc"):  # a fresh layer drowns its input in its bias
                torch.nn.init.normal_(parameter, std=LOUDNESS * parameter.shape[1] ** -0.5)
    return network.eval()


def toy_model(
    size: str = "tiny", token_type: str = "Gen-Hu-Obj", seed: int = 0, *, body_model: Any = None, **changes: Any
) -> InteractVLM:
    """A network and its vocabulary behind the estimator's door; nothing is kept on disk."""
    from hoirecon.contact.estimator import InteractVLM
    from hoirecon.contact.prompting.tokenizer import ContactTokenizer

    with tempfile.TemporaryDirectory(prefix="hoirecon-toy-") as folder:
        vocab_size = write_toy_tokenizer(Path(folder), token_type)
        tokenizer = ContactTokenizer.from_folder(folder)
    network = toy_network(toy_config(size, token_type, vocab_size, **changes), seed)
    return InteractVLM(network, tokenizer, body_model=body_model, cache=None)


@torch.no_grad()
def teach_answers(model: InteractVLM, said: Mapping[Query, str]) -> None:
    """Turn the scores over the vocabulary so that these questions get these answers, word for word.

    Every state on the way of an answer is made to score highest for its next token, by least squares; it can hold as
    many tokens as the states are wide. ``{token}`` in an answer stands for the contact token.
    """
    states, targets = [], []
    for query, text in said.items():
        role = ROLE_OF_KIND[query.kind]
        text = text.replace("{token}", model.network.config.tokens.word_of(role))
        ids = [*model.tokenizer.encode(text, bos=False), model.tokenizer.eos_id]
        states.append(_states_on_the_way(model, query, ids))
        targets += ids
    way = torch.cat(states).double()
    wanted = torch.zeros(len(targets), model.network.config.language.vocab_size, dtype=torch.float64)
    wanted[range(len(targets)), targets] = 10.0
    head = model.network.vlm.language_model.lm_head.weight
    head.copy_((torch.linalg.pinv(way) @ wanted.to(way.device)).T.to(head))


def _states_on_the_way(model: InteractVLM, query: Query, answer: list[int]) -> Tensor:
    """(T, H) the states that predict each token of an answer, by one plain pass over the whole text."""
    vlm, side = model.network.vlm, model.network.config.vision.image_size
    rgb = model.look(query.image, query.person).rgb
    pixels = torch.as_tensor(clip_pixels(rgb, side)).to(vlm.projector.weight.device)
    prompt = [*prefix_ids(model.tokenizer), *question_ids(model.tokenizer, model.question_of(query))]
    embedded = vlm.embed([*prompt, *answer], vlm.image_tokens(pixels[None])[0])
    return vlm.hidden(embedded[None])[0, -len(answer) - 1 : -1]
