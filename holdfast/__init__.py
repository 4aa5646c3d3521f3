"""The command line, the local stack and the audit of Holdfast."""
