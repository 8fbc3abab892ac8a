"""/v1/balloons/{name}/frames: the page-frame map.

query      what of it is asked for
show       a window of it, in the format that was asked for, or that it has not changed
ranges     as JSON
drawing    as a PNG
changes    what changes, as a stream
"""
