"""Documentation, and what makes it from the code."""
