"""Keys, and sealing with them: the KMS interface, the keyring and the cipher of one log."""
