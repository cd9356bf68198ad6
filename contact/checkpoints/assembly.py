"""A network without memory, and its tensors put in one by one.

The network is laid out on the ``meta`` device and every tensor is assigned, not copied, so a load takes the weights'
own size and not twice that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hoirecon.contact.checkpoints.keys import EMBEDDING, Shape, to_released
from hoirecon.contact.checkpoints.shards import TensorInfo
from hoirecon.contact.modeling.config import NetworkConfig
from hoirecon.errors import InputError

if TYPE_CHECKING:
    from hoirecon.contact.modeling.network import InteractVLMNetwork


def empty_network(config: NetworkConfig) -> InteractVLMNetwork:
    """The network on the ``meta`` device, in evaluation mode."""
    from hoirecon.contact.modeling.network import InteractVLMNetwork

    with torch.device("meta"):
        return InteractVLMNetwork(config).eval()


def fill(network: Any, tensors: Iterable[tuple[str, Tensor]], device: Any, dtype: torch.dtype) -> None:
    """Assign tensors by name as they come; the network owns each afterwards, not the file that it came from."""
    for key, tensor in tensors:
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        owned = tensor.to(device=device, dtype=kind, copy=True, memory_format=torch.contiguous_format)
        _assign(network, key, owned)


def _assign(network: Any, key: str, tensor: Tensor) -> None:
    """What ``load_state_dict(assign=True)`` does to one tensor, without its walk through all modules."""
    path, _, name = key.rpartition(".")
    module = network.get_submodule(path)
    if name in module._buffers:
        module._buffers[name] = tensor
    else:
        module._parameters[name] = nn.Parameter(tensor, requires_grad=module._parameters[name].requires_grad)


def finish(network: InteractVLMNetwork, device: Any) -> None:
    """Make what no file holds, and see that nothing was forgotten."""
    network.restore_buffers(device)
    left = [name for name, t in chain(network.named_parameters(), network.named_buffers()) if t.is_meta]
    if left:
        raise RuntimeError(f"these tensors were never filled: {', '.join(left[:5])}")


def check_tensors(
    expected: Mapping[str, Shape],
    found: Mapping[str, TensorInfo],
    where: Any,
    spelled: Callable[[str], str] = to_released,
) -> None:
    """Hold what a folder has against what the network needs, before anything is read.

    Args:
        expected: shape of each tensor of the network, our names.
        found: what the files hold, our names.
        where: the folder, for errors.
        spelled: how the folder's files write one of our names, for errors.

    Raises:
        InputError: a tensor is missing, is too much, or has another shape.
    """
    _check_vocabulary(expected, found)
    if missing := [key for key in expected if key not in found]:
        raise InputError(
            f"{where} holds no tensor '{spelled(missing[0])}'{_more(missing)}: it is not whole, or its config.json "
            "belongs to another model; fetch both again"
        )
    if extra := [key for key in found if key not in expected]:
        info = found[extra[0]]
        raise InputError(
            f"{info.file} holds '{info.key}'{_more(extra)}, which the configured network has no place "
            "for: use the configuration that came with these weights"
        )
    for key, shape in expected.items():
        if found[key].shape != shape:
            info = found[key]
            raise InputError(
                f"{info.file}: '{info.key}' has shape {info.shape}, but the configuration asks for {shape}: use the "
                "configuration that came with these weights"
            )


def _check_vocabulary(expected: Mapping[str, Shape], found: Mapping[str, TensorInfo]) -> None:
    if EMBEDDING in expected and EMBEDDING in found:
        info, rows = found[EMBEDDING], expected[EMBEDDING][0]
        if len(info.shape) != 2 or info.shape[0] != rows:
            raise InputError(
                f"{info.file}: '{info.key}' has shape {info.shape}, but the configuration states a vocabulary of "
                f"{rows}: weights, configuration and tokenizer must come from one model"
            )


def _more(keys: list[str]) -> str:
    return f" and {len(keys) - 1} more" if len(keys) > 1 else ""
