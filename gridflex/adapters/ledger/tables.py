"""The tables of the ledger and of the receipts that rest on it.

All are append-only: the database refuses to change or empty them.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, text
from sqlmodel import Field, SQLModel

from gridflex.adapters.tables import Json, instant, json_object


class LedgerEntryRow(SQLModel, table=True):
    """One entry of the ledger, append-only; the columns beside it are copies to search by."""

    __tablename__ = "ledger_entry"

    index: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    id: str = Field(unique=True)
    event_type: str
    subject: str | None = None
    half_hour: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    recorded_at: datetime = Field(sa_column=instant())
    entry: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    leaf: bytes = Field(sa_column=Column(LargeBinary, nullable=False))

    __table_args__ = (
        Index("ledger_entry_of_type", "event_type", "index"),
        Index("ledger_entry_of_subject", "subject", "index"),
        Index(
            "ledger_entry_of_half_hour",
            "event_type",
            "half_hour",
            postgresql_where=text("half_hour IS NOT NULL"),
        ),
    )


class LedgerTileRow(SQLModel, table=True):
    """One full hash tile of the ledger's Merkle tree, append-only."""

    __tablename__ = "ledger_tile"

    level: int = Field(primary_key=True)
    index: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    hashes: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    root: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class LedgerCheckpointRow(SQLModel, table=True):
    """One signed checkpoint of the ledger, append-only."""

    __tablename__ = "ledger_checkpoint"

    size: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    signed_at: datetime = Field(sa_column=instant())
    note: str


class LedgerTimestampRow(SQLModel, table=True):
    """One RFC 3161 token over a checkpoint, append-only."""

    __tablename__ = "ledger_timestamp"

    size: int = Field(
        sa_column=Column(BigInteger, ForeignKey("ledger_checkpoint.size"), primary_key=True)
    )
    authority: str = Field(primary_key=True)
    stamped_at: datetime = Field(sa_column=instant())
    token: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class ReceiptRow(SQLModel, table=True):
    """The details of one receipt, whose digest its ledger entry holds; append-only."""

    __tablename__ = "receipt"

    ledger_index: int = Field(
        sa_column=Column(
            BigInteger, ForeignKey("ledger_entry.index"), primary_key=True, autoincrement=False
        )
    )
    job_id: str
    details: Json = Field(sa_column=json_object())

    __table_args__ = (Index("receipt_of_job", "job_id", "ledger_index"),)
