"""Lets `python -m holdfast` run the command line, as the stack does for its own processes."""

from holdfast.cli import main

main(prog_name="holdfast")
