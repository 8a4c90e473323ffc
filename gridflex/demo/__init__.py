"""``gridflex demo``: one accelerated day of real Ray jobs, checked and compared with run-now."""
