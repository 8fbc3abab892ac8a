"""How a driver reaches its balloon: over vhost-user from a VM monitor, or in this process."""
