"""Every number of the reference that is known, held against ours.

HOIRECON_PARITY=FOLDER pytest tests/contact/test_parity.py     # another set: FOLDER/interactvlm/

Its parts stand in files of their own: single modules (``parity_components``), whole networks in both of the reference's
modes (``parity_full``), lifting (``parity_lifting``), rasterised maps (``parity_maps``), and losses with one step of
training (``parity_losses``).
"""

from __future__ import annotations

from tests.contact.parity_components import *  # noqa: F403
from tests.contact.parity_full import *  # noqa: F403
from tests.contact.parity_lifting import *  # noqa: F403
from tests.contact.parity_losses import *  # noqa: F403
from tests.contact.parity_maps import *  # noqa: F403
