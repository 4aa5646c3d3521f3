"""Changes the number of partitions of a running shop. docs/decisions/0017-generations.md says why it is safe."""
