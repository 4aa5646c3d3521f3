"""The log, decided: agents over pure domain functions, one transaction per batch."""
