"""``python -m gridflex.ledger.verify``, and what the stand-alone archive runs."""

from gridflex.ledger.verify.command import main

raise SystemExit(main())
