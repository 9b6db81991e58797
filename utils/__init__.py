"""The outside world, one thing a file: the wrstat format, names, quotas, TSV, logs."""
