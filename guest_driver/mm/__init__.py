"""The guest's memory management, modelled on Linux's mm/: page frames, allocator, reclaim, compaction, migration.

What runs per frame is compiled (``compiled.py``) over plain arrays (``zone.py``); what is said once per balloon page is
Python over the same arrays (``mem_map.py``).
"""
