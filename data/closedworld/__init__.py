"""A closed world to test fits in: seeded scenes of people and things in which everything is known.

    scene = load_scene(7)                       # exact: body, object, camera, masks, depth, contact, correspondences
    given = observe_scene(scene, "L2", seed=0)  # what a method sees, wrong by stated amounts

Seeds 0 to 999 are for tuning, from 1000 on for reporting; the two halves share no category. The generator's thresholds
are its own: neither the fit nor the scorer reads them.
"""

from hoirecon.data.closedworld.folders import LAYOUTS as LAYOUTS
from hoirecon.data.closedworld.folders import FolderContents as FolderContents
from hoirecon.data.closedworld.folders import read_folder as read_folder
from hoirecon.data.closedworld.folders import write_folder as write_folder
from hoirecon.data.closedworld.levels import LEVELS as LEVELS
from hoirecon.data.closedworld.levels import NoiseLevel as NoiseLevel
from hoirecon.data.closedworld.levels import level_of as level_of
from hoirecon.data.closedworld.noise import NoisyObservation as NoisyObservation
from hoirecon.data.closedworld.noise import observe_scene as observe_scene
from hoirecon.data.closedworld.recipes import RECIPES as RECIPES
from hoirecon.data.closedworld.recipes import SPLITS as SPLITS
from hoirecon.data.closedworld.recipes import Recipe as Recipe
from hoirecon.data.closedworld.recipes import Split as Split
from hoirecon.data.closedworld.recipes import split_of_seed as split_of_seed
from hoirecon.data.closedworld.scene import VERSION as VERSION
from hoirecon.data.closedworld.scene import ClosedWorldScene as ClosedWorldScene
from hoirecon.data.closedworld.scene import Correspondences as Correspondences
from hoirecon.data.closedworld.scene import make_scene as make_scene
from hoirecon.data.closedworld.storage import load_scene as load_scene
