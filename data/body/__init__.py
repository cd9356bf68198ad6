"""The SMPL-H-layout body: model file, linear blend skinning, parts, landmarks."""
