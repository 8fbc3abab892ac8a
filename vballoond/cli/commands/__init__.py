"""The commands, a file for each thing that they are about."""
