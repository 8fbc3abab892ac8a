"""Many runs: policies, settings, scenarios and seeds, each with each.

job       one run as plain data, which can be made anywhere
grid      which runs are asked for
store     the file that results are kept in
here      processes on this machine
on_dask   a Dask cluster
"""
