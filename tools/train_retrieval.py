"""Train the embedded retrieval encoder and write its weights and the object library's gallery.

Run ``python tools/train_retrieval.py --work /tmp/retrieval`` (under an hour on one core; needs manifold3d,
safetensors).
All is drawn from a seed; stages that are already in the work folder (the rendered training set, the trained networks)
are not made again.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tqdm import tqdm

from hoirecon.data.objects import list_objects, load_object
from hoirecon.retrieval.embedded.dataset import MARKER, DatasetConfig, read_dataset, write_dataset
from hoirecon.retrieval.embedded.encoder import WEIGHTS, EmbeddedEncoder, read_encoder, write_encoder
from hoirecon.retrieval.embedded.gallery import LIBRARY, write_gallery
from hoirecon.retrieval.embedded.network import ViewNet
from hoirecon.retrieval.embedded.training import Log, TrainConfig, train_points, train_views


def main() -> None:
    """Draw, train, write."""
    options = _options()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    config = replace(TrainConfig(), view_steps=options.view_steps, point_steps=options.point_steps)
    data_config = DatasetConfig()
    if not (options.work / "dataset" / MARKER).is_file():
        write_dataset(options.work / "dataset", data_config)
    data = read_dataset(options.work / "dataset")
    log = Log(options.work / "curves.jsonl")
    trained = options.work / "views.pt"
    if options.points_only:
        view_net = ViewNet(config.view_net)
        view_net.load_state_dict(torch.load(trained, weights_only=True))
        view_net.eval()
    else:
        view_net = train_views(data, config, log, options.work / "checkpoint.pt")
        torch.save(view_net.state_dict(), trained)
    point_net = train_points(data, view_net, config, log)
    made_by = {"training": asdict(config), "data": asdict(data_config), "shapes": len(data.categories)}
    write_encoder(view_net, point_net, options.out, made_by)
    write_library(read_encoder(options.out), options.out / LIBRARY.name)


def write_library(encoder: EmbeddedEncoder, path: Path) -> None:
    """The gallery of all meshes of the object library."""
    entries = tqdm(list_objects(), desc="gallery", mininterval=5)
    write_gallery([encoder.encode_shape(load_object(e.id).mesh, e.id) for e in entries], encoder, path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the training set, checkpoint and curves")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder of the weights and the gallery")
    parser.add_argument("--view-steps", type=int, default=TrainConfig.view_steps)
    parser.add_argument("--point-steps", type=int, default=TrainConfig.point_steps)
    parser.add_argument("--points-only", action="store_true", help="take the trained network of pictures from --work")
    return parser.parse_args()


if __name__ == "__main__":
    main()
