"""Settings of the test run."""

import os

# On tiny tensors a second thread costs more than it gives, and processes that run side by side wait for each other's.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
