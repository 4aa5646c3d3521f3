"""Changes the number of partitions of a running shop. docs/decisions/0015-generations.md says why it is safe."""
