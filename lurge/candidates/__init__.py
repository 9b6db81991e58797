"""Archive candidates: which directories and files could be archived."""
