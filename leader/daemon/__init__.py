"""`joblog leader`: what its parts are, how they are tied together, and in which order they start and end."""
