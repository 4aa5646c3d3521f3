"""A payment provider to run Holdfast against: speaks the contract of streams/payments/contract.py, keeps a ledger, misbehaves on demand."""
