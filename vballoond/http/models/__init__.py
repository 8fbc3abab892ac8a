"""What the API takes and gives. OpenAPI is made from these models, so it cannot say anything else.

balloon      a balloon, and the size that it is to have
resize       how a resize goes
frames       the page-frame map
statistics   what a guest says of its memory
hinting      rounds of free page hinting
policy       who decides on sizes
decision     what was decided, and why
reservation  memory that is to be free by a given time
lifecycle    the daemon as a whole
problem      what was wrong with a request
"""
