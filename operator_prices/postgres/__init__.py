"""How a Postgres is reached, whoever reaches it: its address, and what lies between."""
