"""Learning without, then with, text."""
