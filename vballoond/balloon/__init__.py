"""The balloon device, sans-I/O: facts in, effects out. One file for what each kind of request means."""
