"""Triplets of video, skeleton and text."""
