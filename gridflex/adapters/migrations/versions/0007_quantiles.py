"""How sure a forecast is: one row of quantiles for each of its values."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = """
ALTER TABLE forecast ADD COLUMN quantiles double precision[],
    ADD CONSTRAINT forecast_quantiles_for_each_value CHECK (
        quantiles IS NULL
        OR (array_length(quantiles, 1) = cardinality(values) AND array_length(quantiles, 2) = 7)
    );
"""
"""Seven quantiles: 0.05, 0.1, 0.25, 0.5, 0.75, 0.9 and 0.95."""


def upgrade() -> None:
    """Add them."""
    op.execute(SCHEMA)
