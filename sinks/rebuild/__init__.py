"""The stores filled again from the log, beside the live ones, compared with them and put in their place (docs/replay.md)."""
