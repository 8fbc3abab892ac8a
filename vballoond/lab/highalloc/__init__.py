"""The stress-highalloc experiment that the balloon compaction interface was published with, on modelled guests."""
