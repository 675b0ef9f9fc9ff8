"""The device: models, the queue, batches."""
