"""What programs do in a modelled guest: loads that read files, take memory, build, idle, burst, or take too much."""
