"""The vhost-user protocol between a VM monitor (front-end) and a device (back-end), as far as a balloon speaks it.

Source: QEMU's docs/interop/vhost-user.rst. One file for each part of a message: header, requests, payloads, features.
"""
