"""How often sensors look: Dagster's daemon goes round all of them every 5 s."""

EVERY_ROUND = 4
"""Seconds between ticks at least. With 5, a tick that began a moment after its round would have the
next one leave the sensor out, and it would look every 10 s."""

EVERY_OTHER_ROUND = 9
