"""The traditional memory balloon device, virtio 1.4 section 5.5: one file per part of it."""
