"""The interface of 2012: a page is a balloon's if its mapping has AS_BALLOON_MAP set.

``interface.py`` is what exists with and without CONFIG_BALLOON_COMPACTION, ``with_compaction.py`` and
``without_compaction.py`` are the two sides of the ``#ifdef``.
"""
