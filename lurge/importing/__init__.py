"""What the suite before Lurge has recorded, taken over: history, and what vaults held."""
