import gc

import pytest


@pytest.fixture(autouse=True)
def _no_garbage() -> None:
    """Mappings of earlier tests that nothing can reach any more have descriptors, which would go while others count."""
    gc.collect()
