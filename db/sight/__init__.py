"""
What is read for people: no more than they may see.

Each reading takes their `Sight`, or what stands for it: a `GroupNow`, which is found only for who
may see the group. The volumes, and what vaults do with files, are known to everybody.
"""
