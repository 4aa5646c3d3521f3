"""What happened to one product or one order, and what stock there was at a time: from the log alone."""
