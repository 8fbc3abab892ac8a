"""The ``vballoond`` command: the daemon in the foreground, and a client of its API."""
