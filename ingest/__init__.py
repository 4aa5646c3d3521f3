"""Into the log: order IDs, the producer for other programs, and the loader of files."""
