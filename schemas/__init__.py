"""The contracts: every topic, record, refusal and view, named once. Imports nothing else of Holdfast."""
