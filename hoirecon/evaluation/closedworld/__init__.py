"""The benchmark in scenes in which everything is known: methods, scores, calibration, speed, and the results page."""
