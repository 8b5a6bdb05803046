"""`python -m strongroom` is the command line."""

from strongroom.cli.main import run

run()
