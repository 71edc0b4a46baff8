"""Logs that programs with an OpenTelemetry SDK send (OTLP over gRPC)."""
