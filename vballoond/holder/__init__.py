"""Descriptors that outlive this process: kept by systemd's descriptor store or by the keeper, given to the next one."""
