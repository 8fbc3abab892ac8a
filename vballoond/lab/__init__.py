"""Modelled guests inside the daemon: the only place that imports ``guest_driver``."""
