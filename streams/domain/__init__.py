"""The decisions: pure. No clock, no random number, no network, no logging; time and IDs are arguments."""
