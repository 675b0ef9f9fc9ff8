"""What every process needs: threads, logs, metrics, shutdown."""
