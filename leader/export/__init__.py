"""Export: log lines go to a collector over OTLP, while the leader works and after."""
