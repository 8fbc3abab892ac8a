"""A balloon on a Unix socket of its own, in the shape of Firecracker's API: docs/firecracker.md."""
