"""How long logs are kept: policies, what is due by them, and the service that deletes it."""
