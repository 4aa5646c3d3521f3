"""Webhooks: every change of an order becomes a notice in MySQL, and every notice is sent until it is taken, or dead."""
