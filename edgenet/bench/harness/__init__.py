"""What experiments share: timing and its check, processes of their own, graphs, and peers."""
