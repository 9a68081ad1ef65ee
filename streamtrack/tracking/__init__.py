"""SAM 2 with a bounded memory bank.

Importing it lets torch's idle threads sleep instead of spin, unless OMP_WAIT_POLICY says
otherwise: decoding, drawing and encoding share the cores with the model. On two busy cores a step
of nano takes 24 ms with sleeping threads and 900 ms with spinning ones (benchmarks/LOG.md).
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
