"""The 22 faults that the software must survive, injected; and what came of it.

`test_*.py` are the fast versions, part of `make test`. The same experiments with their full
numbers are `make faults`, which keeps the figures in docs/reliability.md. `table.py` says which
test and which experiment shows which fault.
"""
