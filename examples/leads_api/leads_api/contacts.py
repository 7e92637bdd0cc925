"""Is this person a contact already?"""

from sqlalchemy import func, select

from leads_api.db import session
from leads_api.models import Contact


def is_known(email: str) -> bool:
    """Whether the archive of contacts holds this address, or one that reaches the same mailbox.

    A plain address is found through the index. An alias (`Ann.Lee+fair@…`) has to be compared with the normal form of
    every contact, which no index holds: a full scan that takes longer as the archive grows. Nobody noticed, since
    hardly anyone writes their address that way.
    """
    local, _, domain = email.partition("@")
    if local == local.lower() and "." not in local and "+" not in local:
        match = Contact.email == email
    else:
        mailbox = f"{local.partition('+')[0]}@{domain}".replace(".", "").lower()
        match = func.lower(func.replace(Contact.email, ".", "")) == mailbox
    with session() as database:
        return bool(database.scalar(select(func.count()).select_from(Contact).where(match)))
