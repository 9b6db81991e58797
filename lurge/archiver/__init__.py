"""Acts on files: every byte stays readable in its place, or from a verified copy that is found."""
