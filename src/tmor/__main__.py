"""``python -m tmor``: what the command ``tmor`` does."""

from tmor.cli import main

main()
