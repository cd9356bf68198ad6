"""Object library: categories that people touch, their sizes and uses, and closed meshes of them.

Mesh frame, for the whole library: y up, +z front, +x the object's own left, origin at the centre of the bounding box,
metres. Parts named left and right are the user's left and right in typical use.
"""

from hoirecon.data.objects.catalog import Category as Category
from hoirecon.data.objects.catalog import get_category as get_category
from hoirecon.data.objects.catalog import list_categories as list_categories
from hoirecon.data.objects.index import ObjectEntry as ObjectEntry
from hoirecon.data.objects.library import LibraryObject as LibraryObject
from hoirecon.data.objects.library import list_objects as list_objects
from hoirecon.data.objects.library import load_object as load_object
from hoirecon.data.objects.prepare import MeshRepairWarning as MeshRepairWarning
from hoirecon.data.objects.prepare import prepare_mesh as prepare_mesh
from hoirecon.data.objects.size import MetricSize as MetricSize
from hoirecon.data.objects.size import metric_size as metric_size
from hoirecon.data.objects.symmetry import Symmetry as Symmetry
from hoirecon.data.objects.usable import UsableConfig as UsableConfig
from hoirecon.data.objects.usable import UsableObject as UsableObject
from hoirecon.data.objects.usable import usable_from_library as usable_from_library
from hoirecon.data.objects.usable import usable_object as usable_object
from hoirecon.data.objects.usable_cache import ObjectCache as ObjectCache
