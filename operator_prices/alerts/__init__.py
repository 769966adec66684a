"""Alerts that arrive: what is said of trouble and of events, to which addresses, once to each."""
