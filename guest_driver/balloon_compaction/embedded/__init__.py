"""The interface since the device info is embedded in the driver and pages have movable operations of their own.

``movable_page.py`` is the core's half, ``balloon.py`` what the generations have in common, ``v2022.py`` Linux 6.1 and
``v2026.py`` Linux after the rework of January 2026.
"""
