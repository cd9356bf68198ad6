"""The SMPL-H-layout body: model files, linear blend skinning and its Jacobians, parts, landmarks."""

from __future__ import annotations

from hoirecon.data.body.files import load_body as load_body
from hoirecon.data.body.geodesic import Geodesic as Geodesic
from hoirecon.data.body.geodesic import body_geodesic as body_geodesic
from hoirecon.data.body.jacobian import BodyPoints as BodyPoints
from hoirecon.data.body.jacobian import landmarks_with_jacobian as landmarks_with_jacobian
from hoirecon.data.body.jacobian import points_at as points_at
from hoirecon.data.body.jacobian import points_of_joints as points_of_joints
from hoirecon.data.body.jacobian import points_of_landmarks as points_of_landmarks
from hoirecon.data.body.jacobian import points_of_verts as points_of_verts
from hoirecon.data.body.landmarks import body_landmarks as body_landmarks
from hoirecon.data.body.mirror import mirror_params as mirror_params
from hoirecon.data.body.mirror import mirror_points as mirror_points
from hoirecon.data.body.mirror import mirror_verts as mirror_verts
from hoirecon.data.body.model import BodyModel as BodyModel
from hoirecon.data.body.model import BodyOutput as BodyOutput
from hoirecon.data.body.model import Landmarks as Landmarks
from hoirecon.data.body.parts import BodyParts as BodyParts
from hoirecon.data.body.parts import body_parts as body_parts
from hoirecon.data.body.state import BodyState as BodyState
from hoirecon.data.body.state import FreeParams as FreeParams
from hoirecon.data.body.state import retract as retract
from hoirecon.data.body.state import rotvec_jacobian as rotvec_jacobian
