"""What a user would pick instead of Holdfast, each a small program of its own: README.md says how each was tuned."""
