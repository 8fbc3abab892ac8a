"""Garbage for a running daemon, and well-behaved guests beside it: ``make fuzz``.

main          the command: rounds of ten seconds, a line for each, a summary
run           one run: the daemon, the workers, what is checked between the rounds
worker        steps that a seed brings back, each worker in a thread of its own
account       memory and descriptors of the daemon, and whether they stay flat
daemon        the daemon as a process, and its log
api           its HTTP API, as a client uses it
front_end     a connection of a VM monitor
vm            a guest's memory, rings and doorbells, and what its monitor says to have them served
numbers       random numbers that are likely to hurt
well_behaved  a driver that keeps all rules, and checks what comes of it
modelled      the modelled guest inside the daemon, which is to reach its targets too
messages      vhost-user messages that are wrong, late, cut off or come with the wrong descriptors
rings         rings that are set up well and hold garbage, which changes while it is served
attacks       the hostile drivers of ``guest_driver.hostile``, over vhost-user
requests      HTTP that is none

Rules of this package:

* It knows the daemon from outside only: nothing of ``vballoond`` is imported.
* No worker truncates memory that it has handed out: a VM monitor that does is not garbage, but the end of the daemon
  (README, "What a hostile guest can do").
* What is random comes from the step's own generator, so that a step can be done again by itself.
"""
