"""The REST API.

routes       which method and path leads where, and what goes in and out: the one table of the API
models       what goes in and out
balloons, resizes, frames, statistics, hinting, events, lifecycle, health, metrics, page      the handlers
connections  how many there are, and how long each may take
guards       who may ask: host names, other sites' pages, tokens, bodies
tokens       the token that may do everything, and the one that only reads
request_log  a line for each request that may have changed something
problems     how an error is answered
openapi      the table as an OpenAPI document; reference: the same for people
app          all of it as an aiohttp application
site         where it is served; answering: what is imported for that once guests are served
"""
