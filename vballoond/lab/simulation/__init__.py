"""Trying a policy before it is trusted: a host with modelled guests in virtual time, and no daemon.

host_scenario     what is tried: host, guests, loads, faults, reservations; from a TOML file
scenario_problem  what is wrong with one, in words
shipped           the scenarios that come with the program
touched_device    the real device on real rings, which keeps account of what the host has to have for the guest
page_guest        one guest with its driver, programs and faults
guest_reports     what a guest said of itself, with age and rates
host_memory       who has the host's memory, and what shortage of it costs
host_pressure     pressure stall information, derived from that
population        which guests are there, and when; reservations whose guests come when they are ready
chosen_policy     a policy as it is named, with its settings, and its source if it is a file
policy_process    one of a file at work, in the daemon's own script process
rounds            one policy's rounds: observe, reserve, ask, guard
ledger            where every byte is
promises          what must hold in each round, whatever the policy; and what a scenario promises
measures          what a run comes to, in numbers
run               one run: a scenario, a policy, a seed
result            what comes of it; table, plot: for people
snapshots         recorded views of a real host, and what a policy would have decided
endings           how a process that simulates ends when it is told to
sweep/            many runs: here or on a Dask cluster, into a file, restartable
"""
