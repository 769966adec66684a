"""The fixed-point scales of the chain, each defined once."""

ONE = 10**18
"""One in perquintills, and one AI3 in Shannons."""

PERBILL = 10**9
"""What turns the perbill of older runtimes into perquintills."""
