"""The daemon's configuration: what it may say (``models``), where it is read (``load``), and its default."""
