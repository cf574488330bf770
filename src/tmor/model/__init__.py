"""The learned part: the motion encoder, its projection heads, and checkpoints."""
