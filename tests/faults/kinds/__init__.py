"""Every kind of fault, a file per victim; each file has one tuple `FAULTS`."""
