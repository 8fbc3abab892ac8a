"""What a virtio-balloon driver and its device agree on, and nothing else.

Layouts, feature bits, queue numbers, commands and vhost-user messages, each declared once. The package is pure: it
opens nothing, logs nothing, waits for nothing, and imports only itself by relative names, so both the daemon
(``vballoond``) and the modelled guest (``guest_driver``) stand on the same declarations.
"""

from typing import Final

# The name "protocol" is also that of an unrelated package on the public index. ``vballoond`` compares this marker at
# start-up, so that an installation in which the other package won is named as such instead of failing in some import.
WIRE_VERSION: Final = 1
