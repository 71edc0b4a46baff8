"""Who may do what: roles, tokens, certificates, sessions, the rules of every method, quotas, and the audit log."""
