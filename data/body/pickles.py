"""Reading MPI's body pickles without running anything that a pickle can name.

On top of the stand-ins of :mod:`hoirecon.restricted_pickle` these know chumpy arrays (stored values and selections of
them), which the SMPL family's files of Python 2 hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hoirecon import restricted_pickle
from hoirecon.errors import InputError
from hoirecon.restricted_pickle import Array, Stub, resolve, sizes


class _Chumpy(Stub):
    """Stands for chumpy.Ch: the stored value ``x``."""

    def resolve(self) -> Any:
        state = self.state if isinstance(self.state, dict) else {}
        if "x" not in state:
            raise InputError("it holds a chumpy expression without a stored value: save the model as .npz first")
        return resolve(state["x"])


class _ChumpySelect(Stub):
    """Stands for chumpy.reordering.Select: ``a.ravel()[idxs].reshape(preferred_shape)``."""

    def resolve(self) -> Array:
        state = self.state if isinstance(self.state, dict) else {}
        if not {"a", "idxs"} <= set(state):
            raise InputError("it holds a chumpy selection without its parts: save the model as .npz first")
        picked: Array = np.ravel(resolve(state["a"]))[np.asarray(resolve(state["idxs"]))]
        shape = resolve(state.get("preferred_shape"))
        return picked if shape is None else picked.reshape(sizes(shape))


_ALLOWED: restricted_pickle.Allowed = {
    **restricted_pickle.ALLOWED,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("chumpy", "Ch"): _Chumpy,
    ("chumpy.reordering", "Select"): _ChumpySelect,
}


def read_pickle(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """The wanted keys of a pickled dictionary, as numpy arrays and plain values.

    Nothing from the file is executed.

    Raises:
        InputError: the file asks for a function or class outside the short list above (named in the message), is not
            a pickle, is too large, or does not hold a dictionary.
    """
    return restricted_pickle.read_pickle(path, keys, what="a body model", allowed=_ALLOWED)
