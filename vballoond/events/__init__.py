"""What happens to balloons, told to whoever listens, with ids by which a listener that was away catches up.

log       the newest events, and those who wait for more
pace      sizes at most once a second
budget    how much one guest can have told
"""
