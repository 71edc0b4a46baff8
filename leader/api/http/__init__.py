"""The HTTP API: /api/v1, /healthz, /readyz, /metrics, and a small page for people."""
