"""`python -m zenml` is the command `zenml`."""

from zenml.cli import run

run()
