"""The archive tier: object stores, the containers in them, and what moves logs there."""
