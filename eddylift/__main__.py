"""Run the command line from a checkout: python -m eddylift."""

from eddylift.cli import app

app(prog_name="eddylift")
