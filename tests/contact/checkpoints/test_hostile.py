"""Folders that are damaged, mixed up or made by an enemy: refused by name, nothing executed."""

from __future__ import annotations

import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hoirecon.contact.checkpoints.open import kind_of, open_checkpoint
from hoirecon.contact.checkpoints.released import load_network
from hoirecon.contact.modeling.network import InteractVLMNetwork
from hoirecon.errors import InputError
from tests.contact.checkpoints.tiny_checkpoint import (
    random_network,
    released_state,
    tiny_config,
    write_released,
    write_tensors,
    write_weights,
)

Folder = Callable[..., Path]


@pytest.fixture(scope="module")
def network() -> InteractVLMNetwork:
    return random_network(tiny_config())


@pytest.fixture
def make(tmp_path: Path, network: InteractVLMNetwork) -> Folder:
    """A sound folder to be spoiled."""

    def _make(shards: int = 1, kind: str = "bin") -> Path:
        return write_released(tmp_path / "m", network, shards, kind)

    return _make


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


class Payload:
    """Runs a command when it is unpickled carelessly."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("where", ["bare", "of protocol 4", "in torch's archive", "beside tensors"])
def test_code_in_a_pickle_is_refused_and_not_run(make: Folder, network: Any, tmp_path: Path, where: str) -> None:
    folder, mark = make(), tmp_path / "ran"
    path = folder / "pytorch_model.bin"
    if where == "bare":
        path.write_bytes(pickle.dumps({"a": Payload(mark)}, protocol=2))
    elif where == "of protocol 4":
        path.write_bytes(pickle.dumps({"a": Payload(mark)}, protocol=4))
    elif where == "in torch's archive":
        torch.save(Payload(mark), path)
    else:
        torch.save(released_state(network) | {"extra": Payload(mark)}, path)
    with pytest.raises(InputError, match=r"pytorch_model\.bin") as refused:
        load_network(folder)
    assert not mark.exists()
    known = where != "of protocol 4"  # which torch does not read so far
    assert (f"(it asks for '{os.name}.system')" in str(refused.value)) == known
    assert "PyTorch" not in str(refused.value)


def test_a_pickle_of_numbers_is_refused_without_torch_s_settings(make: Folder) -> None:
    folder = make()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1})[:-4] + b"\xfe\xfe\xfe.")
    with pytest.raises(InputError, match=r"pytorch_model\.bin") as refused:
        load_network(folder)
    assert not any(word in str(refused.value) for word in ("PyTorch", "weights_only", "asks for", "\n"))


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
@pytest.mark.parametrize("keep", [0, 7, 0.5, 0.999])
def test_a_truncated_shard_is_named(make: Folder, kind: str, keep: float) -> None:
    folder = make(3, kind)
    path = sorted(folder.glob(f"*00002-of-00003.{kind}"))[0]
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(InputError, match=f"{re.escape(path.name)} .*(damaged|holds more)"):
        load_network(folder)


def test_claimed_sizes_do_not_take_memory(make: Folder) -> None:
    """A header of safetensors that states 8 TB, and a pickle whose storage states 4 GB."""
    folder = make(1, "safetensors")
    path = folder / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["lm_head.weight"] |= {"shape": [1 << 31, 1 << 10], "data_offsets": [0, 1 << 43]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(InputError, match="damaged"):
        load_network(folder)
    path.write_bytes((1 << 60).to_bytes(8, "little") + data[8:])
    with pytest.raises(InputError, match="damaged"):
        load_network(folder)


def test_a_pickle_that_claims_more_than_it_holds(make: Folder, network: Any) -> None:
    folder = make()
    path = folder / "pytorch_model.bin"
    torch.save(released_state(network) | {"big": torch.arange(1000.0)}, path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in content if name.endswith("data.pkl"))
    assert b"M\xe8\x03" in content[name]  # 1000
    content[name] = content[name].replace(b"M\xe8\x03", b"J\x00\x00\x00\x40")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for key, data in content.items():
            archive.writestr(key, data)
    with pytest.raises(InputError, match=r"pytorch_model\.bin is damaged"):
        load_network(folder)


def test_a_small_storage_stretched_to_a_huge_tensor(make: Folder, network: Any) -> None:
    folder = make()
    state = released_state(network)
    state["lm_head.weight"] = torch.zeros(1).expand(1 << 20, 1 << 20)
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=re.escape("'lm_head.weight' has shape (1048576, 1048576)")):
        load_network(folder)


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
def test_a_missing_tensor_is_named(make: Folder, network: Any, kind: str) -> None:
    folder, state = make(1, kind), released_state(network)
    del state["model.text_hidden_fcs.0.2.weight"], state["model.norm.weight"]
    write_weights(folder, state, 1, kind)
    with pytest.raises(InputError, match=r"no tensor 'model\.norm\.weight' and 1 more"):
        load_network(folder)


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
def test_an_unexpected_tensor_is_named_with_its_file(make: Folder, network: Any, kind: str) -> None:
    folder = make(1, kind)
    write_weights(folder, released_state(network) | {"model.surprise": torch.ones(2)}, 1, kind)
    with pytest.raises(InputError, match=rf"\.{kind} holds 'model\.surprise', which"):
        load_network(folder)


def test_a_wrong_shape_is_named_with_both(make: Folder, network: Any) -> None:
    folder = make()
    wrong = {"model.layers.1.mlp.up_proj.weight": torch.ones(48, 31)}
    write_weights(folder, released_state(network) | wrong, 1, "bin")
    with pytest.raises(InputError, match=r"up_proj\.weight' has shape \(48, 31\), but .* asks for \(48, 32\)"):
        load_network(folder)


def test_a_wrong_vocabulary(make: Folder, network: Any) -> None:
    folder, state = make(), released_state(network)
    edit(folder, vocab_size=50)
    with pytest.raises(InputError, match="states a vocabulary of 50"):
        load_network(folder)
    edit(folder, vocab_size=48, seg_token_idx=48)
    with pytest.raises(InputError, match="id 48 is not in the vocabulary of 48"):
        load_network(folder)
    edit(folder, seg_token_idx=40)
    write_weights(folder, state | {"lm_head.weight": torch.ones(47, 32)}, 1, "bin")
    with pytest.raises(InputError, match="lm_head"):
        load_network(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "expected a JSON object"),
        ("\xff\xfe", "is not JSON|expected"),
        ("{}", "holds a|is None|expected"),
        ('{"model_type": "bert", "hidden_size": 3}', "expected"),
    ],
)
def test_config_that_is_none(make: Folder, text: str, message: str) -> None:
    folder = make()
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        load_network(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 10**9}, "whole number from 1 to 512"),
        ({"hidden_size": "32"}, "whole number"),
        ({"hidden_size": True}, "whole number"),
        ({"vocab_size": 10**15}, "whole number"),
        ({"multiview_channels": -4}, "whole number"),
        ({"token_type": "Gen-Other"}, "no token type 'Gen-Other'"),
        ({"token_type": 3}, "expected a word"),
        ({"cam_encoder_type": "exec"}, "no camera encoder 'exec'"),
        ({"hC_loss_weight": "many"}, "expected a number"),
        ({"multiview_cam_cond": "perhaps"}, "expected true or false"),
        ({"hidden_act": "gelu"}, "InteractVLM's is 'silu'"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling"),
        ({"mm_vision_select_feature": "cls_patch"}, "'patch'"),
        ({"mm_vision_select_layer": 40}, "2 layers"),
        ({"img_emb_len": 255}, "256 vectors"),
        ({"num_attention_heads": 5}, "divide"),
        ({"out_dim": 20}, "cannot prompt"),
    ],
)
def test_config_with_a_wrong_value(make: Folder, changes: dict[str, Any], message: str) -> None:
    folder = make()
    edit(folder, **changes)
    with pytest.raises(InputError, match=message):
        load_network(folder)


class TestIndex:
    def index(self, folder: Path) -> tuple[Path, dict[str, Any]]:
        path = folder / "pytorch_model.bin.index.json"
        return path, json.loads(path.read_text())

    def test_a_missing_shard(self, make: Folder) -> None:
        folder = make(3)
        (folder / "pytorch_model-00003-of-00003.bin").unlink()
        with pytest.raises(InputError, match=r"00003-of-00003\.bin, but that shard is not there"):
            load_network(folder)

    @pytest.mark.parametrize("name", ["../m/pytorch_model-00001-of-00003.bin", "/etc/passwd", "..", "", 3])
    def test_a_path_out_of_the_folder(self, make: Folder, name: Any) -> None:
        folder = make(3)
        path, index = self.index(folder)
        index["weight_map"]["lm_head.weight"] = name
        path.write_text(json.dumps(index))
        with pytest.raises(InputError, match="no file name inside the folder"):
            load_network(folder)

    def test_a_promise_that_the_shard_does_not_keep(self, make: Folder) -> None:
        folder = make(3)
        path, index = self.index(folder)
        index["weight_map"]["model.promised"] = "pytorch_model-00001-of-00003.bin"
        path.write_text(json.dumps(index))
        with pytest.raises(InputError, match=r"promises 'model\.promised' in pytorch_model-00001"):
            load_network(folder)

    def test_no_table(self, make: Folder) -> None:
        folder = make(3)
        self.index(folder)[0].write_text('{"weight_map": []}')
        with pytest.raises(InputError, match="weight_map"):
            load_network(folder)

    def test_a_tensor_in_two_shards(self, make: Folder, network: Any) -> None:
        folder = make(3)
        first = folder / "pytorch_model-00001-of-00003.bin"
        state = torch.load(first, weights_only=True)
        other = torch.load(folder / "pytorch_model-00002-of-00003.bin", weights_only=True)
        write_tensors(first, state | dict([next(iter(other.items()))]))
        with pytest.raises(InputError, match="mixes two saves"):
            load_network(folder)


@pytest.mark.parametrize(
    "content", [[1, 2], {"a": [1]}, {"a": {"b": torch.ones(1)}}, {3: torch.ones(1)}, {"a": torch.ones(2).to_sparse()}]
)
def test_a_file_that_is_no_table_of_tensors(make: Folder, content: Any) -> None:
    folder = make()
    torch.save(content, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin"):
        load_network(folder)


def test_a_type_that_weights_do_not_have(make: Folder, network: Any) -> None:
    folder = make()
    torch.save(released_state(network) | {"x": torch.ones(2, dtype=torch.complex64)}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="complex64"):
        load_network(folder)


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        for read in (kind_of, open_checkpoint, load_network):
            with pytest.raises(InputError, match=r"not a checkpoint|no folder"):
                read(folder)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="holds no weights"):
        load_network(tmp_path)


def test_a_language_model_without_a_mask_model(make: Folder, network: Any) -> None:
    folder = make()
    plain = {key: value for key, value in released_state(network).items() if "visual_model" not in key}
    write_weights(folder, plain, 1, "bin")
    with pytest.raises(InputError, match="not InteractVLM's"):
        load_network(folder)
