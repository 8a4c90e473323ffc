"""``python -m gridflex.sandbox.beckn SETTINGS``: one part; `gridflex sandbox beckn` starts all."""

import logging
import sys

from gridflex.sandbox.beckn.parts import PartSettings, run_part

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)
run_part(PartSettings.model_validate_json(sys.argv[1]))
