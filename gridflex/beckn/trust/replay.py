"""Whether a message has been here before.

A request is told by its message id alone: a second one is refused. A callback may share its
message id with others (several ``on_status`` answer one ``status``), so it is told by message
id and signature together; the very same callback again is acknowledged and has no effect,
because its sender repeats it when an acknowledgement was lost.

Source:
    CON-013-15 and CON-013-23 (callbacks); NFH-007 section 10.2 and CON-008-18.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from gridflex.beckn.wire.errors import BecknError, Code


class Novelty(StrEnum):
    """What a message is to its receiver."""

    NEW = "new"
    REPEATED = "repeated"


def judge(signature: str, earlier: Collection[str], *, is_callback: bool) -> Novelty:
    """Return whether a message is new.

    Args:
        signature: Of the message that arrived.
        earlier: Signatures of messages already kept with the same sender and message id, going
            the same way (requests apart from callbacks).
        is_callback: Which rule holds.

    Raises:
        BecknError: It is a request whose message id was used before.
    """
    if not earlier:
        return Novelty.NEW
    if is_callback:
        return Novelty.REPEATED if signature in earlier else Novelty.NEW
    if signature in earlier:
        raise BecknError(Code.AUT_REPLAY_DETECTED, "this very request was received before")
    raise BecknError(
        Code.CTX_MESSAGE_ID_DUPLICATE,
        "messageId was used for another request; every request needs a new one",
        path="$.context.messageId",
    )
