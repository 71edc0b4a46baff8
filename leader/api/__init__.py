"""What the leader offers to those who read and operate: gRPC services, the HTTP API, and a small page."""
