"""What a skeleton is: layouts, tracks, file formats, normalisation."""
