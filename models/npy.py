"""The headers of .npy files, which are Python literals."""

from __future__ import annotations

import threading
from typing import Final

# Up to Python 3.11.7 and 3.12.1, threads that parse literals at the same time get a SystemError now and then:
# https://github.com/python/cpython/issues/106905. Whoever reads .npy in threads holds this lock meanwhile.
PARSING: Final = threading.Lock()
