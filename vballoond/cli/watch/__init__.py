"""``vballoond watch``: what happens to balloons, as it happens, on a whole terminal.

world         what is known: balloons, the newest events, curves
frame_cells   the frame map, a byte for each cell of the picture
map_follower  reads the map and follows its changes
drawing       bars, curves and maps in characters
overview      all balloons, as lines of text
details       one balloon, as lines of text
keyboard      single keys, without Enter
session       the loop: whatever happens goes into the world, and the world onto the screen
"""
