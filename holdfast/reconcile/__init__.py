"""What does not agree between the log, its folds and the stores, and the commands through the log that mend it."""
