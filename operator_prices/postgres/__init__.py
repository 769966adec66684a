"""How a Postgres is reached, whoever reaches it: its address, what lies between, dead lines."""
