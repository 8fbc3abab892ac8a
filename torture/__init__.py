"""SIGKILL for a daemon's worker, again and again, while real guests go on: ``make torture``.

main        the command: a line for every ten kills, a summary
plan        what a run is to do
run         one run: stretches of kills, and between them everything is looked at
killing     when a worker is killed, and how long it takes until the next one serves
resizing    a guest that inflates and deflates without end
visitors    guests that boot, inflate, power off and boot again; a front-end without a driver that just stays
checks      what must be so between the stretches
holders     the keeper, or a stand-in for systemd, with the daemon under it
quick_keeper  the keeper, but that it never waits before the next worker
api         the daemon's HTTP API, for a client whose daemon may die at any instant
guests      where real guests come from (``tests/support``)
violation   what is raised when something is not as it must be

Rules of this package:

* The daemon is known from outside only. Of ``vballoond`` the keeper is imported, since it is what runs here.
* What is random comes from the seed; which instruction a kill meets still depends on the machine.
"""
