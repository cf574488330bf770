"""What the representation is for: tasks and their exact metrics."""
