"""The project inspector: what is in each project directory, by file type and age."""
