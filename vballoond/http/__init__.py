"""The REST API.

routes      which method and path leads where, and what goes in and out: the one table of the API
models      what goes in and out
balloons, frames, health, page      the handlers
guards      who may ask: host names, the token, body limits
problems    how an error is answered
openapi     the table as an OpenAPI document
app         all of it as an aiohttp application
"""
