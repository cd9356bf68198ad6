"""Every number of OpenShape's reference that is known, held against ours.

HOIRECON_PARITY=FOLDER pytest tests/retrieval/test_parity.py     # another set: FOLDER/openshape/
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from hoirecon.retrieval.clouds import PointCloud, prepare_clouds
from hoirecon.retrieval.index import ObjectIndex, ObjectRecord, RecordFilter
from hoirecon.retrieval.label_matching import match_labels, word_vectors
from hoirecon.retrieval.modeling.point_bert import PatchGroups, build_point_encoder
from hoirecon.retrieval.modeling.transformer import pairwise_offsets
from hoirecon.retrieval.protocols import EncoderId
from tests.retrieval.parity_data import arrays, cases, config_of, manifest, network, parity_root, tensor
from tests.retrieval.stand_ins import transformer_of

TOLERANCE = 1e-4


def close(ours: Tensor | npt.NDArray[Any], theirs: Tensor | npt.NDArray[Any], tolerance: float = TOLERANCE) -> None:
    """Absolute and relative, with the largest difference in the message."""
    torch.testing.assert_close(torch.as_tensor(ours), torch.as_tensor(theirs), rtol=tolerance, atol=tolerance)


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.inference_mode():
        yield


def groups(name: str) -> PatchGroups:
    """Our patches of a case."""
    return transformer_of(network(name)).group(tensor(name, "xyz"), manifest()[name]["fps_start"])


@pytest.mark.parametrize("name", cases(full=True))
def test_names_shapes_types_and_their_order(name: str) -> None:
    with torch.device("meta"):
        state = build_point_encoder(config_of(name)).state_dict()
    ours = [[key, list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in state.items()]
    assert ours == manifest()[name]["keys"]
    assert sum(parameter.numel() for parameter in network(name).parameters()) == manifest()[name]["n_params"]


@pytest.mark.parametrize("name", cases())
def test_prepared_clouds(name: str) -> None:
    read, channels = arrays(name), config_of(name).channels
    up = "z" if manifest()[name].get("swap_yz", True) else "y"
    clouds = [PointCloud(raw[:, :3], np.clip(raw[:, 3:], 0, 1)) for raw in read["raw"]]
    xyz, features = prepare_clouds(clouds, up, channels)
    close(xyz, read["xyz"], 1e-5)
    close(features, read["feat"], 1e-5)


@pytest.mark.parametrize("name", cases())
def test_farthest_points(name: str) -> None:
    assert np.array_equal(groups(name).centre_index, arrays(name)["ref/fps_idx"])
    xyz = tensor(name, "xyz")
    centres = xyz[torch.arange(len(xyz))[:, None], groups(name).centre_index]
    assert torch.equal(centres.transpose(1, 2), tensor(name, "ref/centroids"))


@pytest.mark.parametrize("name", cases())
def test_points_of_the_balls(name: str) -> None:
    read = arrays(name)
    theirs = read["ref/ball_idx"] if "ref/ball_idx" in read else read["ref/ball_idx_first8"]
    assert np.array_equal(groups(name).members[:, : theirs.shape[1]], theirs)


@pytest.mark.parametrize("name", cases(full=False))
def test_patch_features(name: str) -> None:
    part, its = transformer_of(network(name)), groups(name)
    xyz = tensor(name, "xyz")
    centres = tensor(name, "ref/centroids").transpose(1, 2).contiguous()
    ours = part.sa(xyz, tensor(name, "feat"), centres, its.members)
    close(ours.transpose(1, 2), tensor(name, "ref/patch_feat"))


@pytest.mark.parametrize("name", cases())
def test_tokens(name: str) -> None:
    read = arrays(name)
    key = "ref/tokens" if "ref/tokens" in read else "ref/tokens_first8"
    tokens, _ = transformer_of(network(name)).tokens(tensor(name, "xyz"), tensor(name, "feat"), groups(name))
    close(tokens[:, : read[key].shape[1]], tensor(name, key))


@pytest.mark.parametrize("name", cases(full=False))
def test_every_branch_of_every_layer(name: str) -> None:
    part = transformer_of(network(name))
    tokens, centres = part.tokens(tensor(name, "xyz"), tensor(name, "feat"), groups(name))
    offsets = pairwise_offsets(centres) if part.config.relative_bias else None
    x = torch.cat([part.cls_token.expand(len(tokens), 1, -1), tokens], dim=1)
    for i, block in enumerate(part.transformer.layers):
        attend, feed = cast(list[Any], block)
        taken = attend.fn(attend.norm(x), offsets)
        close(taken, tensor(name, f"ref/attn_out_{i}"))
        x = x + taken
        fed = feed.fn(feed.norm(x))
        close(fed, tensor(name, f"ref/ff_out_{i}"))
        x = x + fed
    close(x[:, 0], tensor(name, "ref/cls"))


@pytest.mark.parametrize("name", cases())
def test_class_token_and_output(name: str) -> None:
    start, net = manifest()[name]["fps_start"], network(name)
    given = tensor(name, "xyz"), tensor(name, "feat")
    close(transformer_of(net)(*given, start), tensor(name, "ref/cls"))
    close(net(*given, start), tensor(name, "ref/out"))


@pytest.mark.parametrize("name", cases())
def test_output_from_our_own_preparation(name: str) -> None:
    """From the raw points to the embedding, without anything of the reference between."""
    read, config = arrays(name), config_of(name)
    up = "z" if manifest()[name].get("swap_yz", True) else "y"
    clouds = [PointCloud(raw[:, :3], np.clip(raw[:, 3:], 0, 1)) for raw in read["raw"]]
    xyz, features = prepare_clouds(clouds, up, config.channels)
    ours = network(name)(torch.from_numpy(xyz), torch.from_numpy(features), manifest()[name]["fps_start"])
    cosine = torch.nn.functional.cosine_similarity(ours, tensor(name, "ref/out"))
    assert (cosine > 0.9999).all()  # rounding in the preparation may put a point on the other side of a ball's surface


def ranking() -> dict[str, Any]:
    """Records and expected lists of the ranking cases."""
    read: dict[str, Any] = json.loads((parity_root() / "ranking.json").read_text(encoding="utf-8"))
    return read


def rankings() -> list[str]:
    """Names of the ranking cases; called at collection."""
    try:
        return list(ranking()["results"])
    except pytest.skip.Exception:
        return []


def names_to_match() -> list[str]:
    """Names of the label-matching cases; called at collection."""
    try:
        return list(ranking()["label_results"])
    except pytest.skip.Exception:
        return []


@pytest.mark.parametrize("case", rankings())
def test_ranking(case: str) -> None:
    read, stored = ranking(), arrays("ranking")
    query, threshold, chosen = re.fullmatch(r"q(\d+)_th([\d.]+)_(\w+)", case).groups()  # type: ignore[union-attr]
    where = {"nofilter": RecordFilter(), "faces50k_chair": RecordFilter(tags=("chair",), max_faces=50_000)}[chosen]
    encoder = EncoderId("parity", stored["feats_i8"].shape[1], "0" * 12)
    records = [
        ObjectRecord(uid, licence=meta["lic"], faces=meta["faces"], animations=meta["anims"], tags=meta["tags"])
        if (meta := read["meta"].get(uid))
        else None
        for uid in read["uids"]
    ]
    index = ObjectIndex.of(encoder, stored["feats_i8"], records)
    hits = index.search(stored["queries"][int(query)], encoder, 7, where=where, threshold=float(threshold))[0]
    assert [hit.record.id for hit in hits] == [uid for uid, _ in read["results"][case]]
    assert np.allclose([hit.score for hit in hits], [score for _, score in read["results"][case]], atol=1e-5)


@pytest.mark.parametrize("name", names_to_match())
def test_label_matching(name: str) -> None:
    read = ranking()
    expected = read["label_results"][name]
    found = match_labels(name, read["lvis_labels"], word_vectors(read["words"]), read["label_threshold"])
    assert [match.label for match in found] == (expected["labels"] or [])
    similar = dict(expected["sims"])
    assert np.allclose([match.similarity for match in found], [similar[m.label] for m in found], atol=1e-5)
