"""Labs of the tests: named apart by an environment variable, so that two checkouts can be
tested on one machine at the same time.
"""

import os

from lab import Lab


def lab_for(name: str) -> Lab:
    """The lab of that name, after the prefix in $SIDECARPOLICY_TEST_PREFIX."""
    return Lab(os.environ.get("SIDECARPOLICY_TEST_PREFIX", "") + name)
