"""Where copies go, one kind of target a file."""
