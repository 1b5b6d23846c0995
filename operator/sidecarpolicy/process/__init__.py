"""What both processes share: logs, health, and how a process lives and ends."""
