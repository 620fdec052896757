"""`python -m jointdnn_tvm.cli`, the same as the `jointdnn` command."""

import sys

from jointdnn_tvm.cli import main

sys.exit(main())
