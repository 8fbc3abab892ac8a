"""Policies at work on the daemon's real balloons.

messages          what the daemon and the scripts' process say to each other, bounded
confinement       what a script's process may not do
script_process    that process: finds policies, checks settings, asks for plans
child             the daemon's side of it: started, asked within a time, killed
findings          which policies there are: what processes found, files that hang, what a broken file gave before
scripts           the policies themselves, whatever becomes of their process
host_memory       the host's memory, pressure and swap traffic, of /proc
guest_watch       a balloon as policies see it
hands             targets that somebody else has set, which are left alone for a while
acting            one policy at work: its settings, its memory, how often it has failed
kept              what outlives the process
rounds            one round: look, ask, decide, carry out, tell
desk              reservations: asked for, waited for, claimed
runner            all of it, in time, and what the API asks of it
"""
