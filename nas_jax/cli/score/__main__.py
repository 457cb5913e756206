"""`python -m nas_jax.cli.score`."""

import sys

from nas_jax.cli.score import main

sys.exit(main())
