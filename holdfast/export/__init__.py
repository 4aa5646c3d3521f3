"""Outcomes of a window out of the log, as files for analysts."""
