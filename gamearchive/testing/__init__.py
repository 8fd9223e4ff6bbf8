"""What parts written elsewhere are tested with: conformance suites to inherit, and faulty parts to fail on.

Only tests import this package; it needs pytest.
"""

from gamearchive.testing.backends import BackendTests
from gamearchive.testing.stores import Fault, FaultyStore, StoreTests

__all__ = ["BackendTests", "Fault", "FaultyStore", "StoreTests"]
