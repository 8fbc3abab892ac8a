"""The back-end's side of vhost-user.

listener    the socket on which a VM monitor connects, one at a time
channel     whole messages with their descriptors, on one connection
session     what a connection has agreed on: frozen data, and the names of descriptors
changes     what each request makes of a session
replies     what each request is answered
descriptors the open descriptors behind the names
backend     one connection: lets the world follow its session, message by message
"""
