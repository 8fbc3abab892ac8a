"""The device's half of a virtqueue: taking chains of buffers, giving them back, and deciding on notifications."""
