"""Benches: each prints one JSON object; no test asserts a time."""
