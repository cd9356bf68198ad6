"""Running the network without waste: preprocessing, cached generation, cached view features, precision."""
