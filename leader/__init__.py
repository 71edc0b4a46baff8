"""The leader: takes logs from workers, keeps them, and serves them to readers."""
