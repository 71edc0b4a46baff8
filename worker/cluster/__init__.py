"""Following pods through the log API of Kubernetes, for clusters where no agent runs on the nodes."""
