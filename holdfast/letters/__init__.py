"""Dead letters: what they hold, what would mend them, and sending them again once."""
