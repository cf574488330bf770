"""``python -m tmor.cli``."""

from tmor.cli import main

main()
