"""Verify a GridFlex ledger, or receipts from it, offline.

    python gridflex-verify.pyz LEDGER_FOLDER receipt.json --key KEY

This package stands alone: it needs Python 3.11 and the package ``cryptography``, no other part of
GridFlex, no database and no network; ``gridflex settle verifier`` writes it as one archive. KEY is
the ledger's verifier key (``name+id+base64``) or a file that holds it; get it from the operator by
a way you trust, never from the folder you are checking.

Checked in a ledger folder (C2SP tlog-tiles, RFC 6962):

1. every entry is canonical JSON (RFC 8785) with the agreed fields, a new id, and a recording
   time that is no earlier than the entry before;
2. the hash tiles are those of the entries;
3. each checkpoint is signed by the key in force at its size (`key.rotated` entries, signed by
   both keys, change it) and has the root of the entries it covers, so each extends the last;
4. so has every checkpoint you kept (``--since``) and every receipt's: a ledger that was cut,
   rewritten or forked after it cannot pass;
5. with ``--witness``, the newest checkpoint carries that witness's cosignature.

Checked in a receipt: 6. its entry is in the tree of its checkpoint; 7. the checkpoint is signed;
8. its details are those its entry names, its totals follow from its half-hours, to the last digit,
and what it earned from the settlements it names. With the ledger folder also: 9. the entries it
rests on are those it names, and its settlements earned and reduced what it says, by its job and by
all. A later receipt that followed it is named, and so is a later run of a settlement it rests on.

NOT checked: that what was recorded is true (a meter can lie before it is logged); that everything
was recorded; that another copy shown to somebody else is the same (compare checkpoints, or ask for
witnesses); RFC 3161 timestamps (``openssl ts -verify`` does, see docs/ledger.md); payloads
kept outside the ledger, of which it holds only a salted hash. Recording times are the operator's
word; a timestamp or a witness bounds them from outside.
"""
