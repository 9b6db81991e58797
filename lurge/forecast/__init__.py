"""Forecasts: how fast groups grow, how sure that is, and when their quotas will be reached."""
