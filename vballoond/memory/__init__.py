"""Guest memory: its regions, the frames in it, giving frames back to the host, and what the host says of it."""
