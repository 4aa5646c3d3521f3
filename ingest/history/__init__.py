"""History from another system into the log: a map that the user writes, sources of rows, and the run that sends them."""
