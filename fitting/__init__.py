"""Where are body and object? Least-squares fits of body parameters and object poses to what is seen."""
