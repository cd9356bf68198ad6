"""Where do bodies touch things? Estimators of contact per vertex of body and object."""
