"""Parametric meshes of our own: one function per kind of object, a few variants each.

The meshes of the library were made by these and are stored, so that vertex numbers never change; call a generator
for sizes that are not stored, e.g. ``gym.barbell(plates=((0.225, 0.05),)).build()``. Needs the package manifold3d.
"""
