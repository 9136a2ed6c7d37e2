"""What `monitor status` shows: judged from stored facts alone, with the standard library alone."""
