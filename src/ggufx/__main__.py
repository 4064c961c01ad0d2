"""`python -m ggufx`."""

from .cli.main import run

run()
