"""One balloon being served: where rings, memory and the sans-I/O device meet, and its effects are carried out."""
