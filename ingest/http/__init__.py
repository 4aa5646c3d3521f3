"""The gateway over HTTP: see docs/gateway.md for which file does what."""
