"""Render: views of a body or an object, and which vertices each pixel shows."""
