"""Measure the embedded retrieval on unseen shapes and print JSON.

``python -m tools.retrieval_bench --seeds 1000 1001 1002`` draws, for each seed, 400 shapes of 16 categories and 300
queries, ranks them by mask alone (clean, and every one occluded), and does the same with unlearned silhouettes; about
five minutes a seed on one core. Seeds below 1000 are for choices. Needs manifold3d and safetensors.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from hoirecon.retrieval.embedded.encoder import WEIGHTS, read_encoder
from hoirecon.retrieval.embedded.evaluation import evaluate, mean_and_spread
from hoirecon.retrieval.embedded.gallery import LIBRARY, RankWeights, read_gallery
from hoirecon.retrieval.embedded.other_makers import figures_of_other_makers
from hoirecon.retrieval.embedded.protocol import ProtocolConfig, make_test


def main() -> None:
    """Evaluate every seed, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--queries", type=int, default=ProtocolConfig.queries)
    parser.add_argument("--per-category", type=int, default=ProtocolConfig.per_category)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = replace(ProtocolConfig(), queries=options.queries, per_category=options.per_category)
    encoder = read_encoder(options.weights)
    results = []
    for seed in options.seeds:
        results.append(evaluate(make_test(seed, config), encoder, seed))
        print(json.dumps({"seed": seed} | results[-1]), file=sys.stderr, flush=True)
    gallery = read_gallery(options.weights / LIBRARY.name, encoder)
    others = figures_of_other_makers(gallery, options.seeds[0])
    about = {"seeds": options.seeds, "encoder": str(encoder.encoder_id), "config": asdict(config)}
    print(
        json.dumps(
            about | {"rank": asdict(RankWeights()), "mean": mean_and_spread(results), "other_makers": others}, indent=1
        )
    )


if __name__ == "__main__":
    main()
