"""What outlives the process: in sealed memory files with the holder, and on disk.

sealed_file   making and mapping a memory file that nobody can resize
slots         a text that is replaced as a whole, whenever the process dies
live_words    numbers that change with every request, each stored by one instruction
versioned     a text with the version of its format
guest_file    one connection's state: slots and live words
frames_file   which frames a balloon holds
settings_file the configuration that counts
disk          what was set at run time, in a file that outlives the holder
"""
