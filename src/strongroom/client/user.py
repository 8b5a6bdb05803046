"""The client's methods on users and oneself."""

from __future__ import annotations

from msgspec import UNSET

from strongroom.client.transports.base import Transport
from strongroom.models.page import DEFAULT_PAGE_SIZE, Page
from strongroom.models.user import (
    ChangePassword,
    CreateUser,
    DeactivateUser,
    GetUser,
    Identity,
    ListUsers,
    UpdateUser,
    User,
    WhoAmI,
)
from strongroom.operations import user as operations
from strongroom.redaction import SecretText


class UserClient:
    """Users of the deployment; all but `who_am_i` and `change_password` is for its administrators."""

    _transport: Transport

    def who_am_i(self) -> Identity:
        """Who this client works as, in which workspace, with which role there."""
        return self._transport.call(operations.WHO_AM_I, WhoAmI())

    def change_password(self, current: str, new: str) -> None:
        """Gives oneself another password; one's other logins end. `Unauthenticated` when the current one is wrong."""
        self._transport.call(operations.CHANGE_PASSWORD, ChangePassword(current=SecretText(current), new=SecretText(new)))

    def create_user(self, name: str, password: str, *, admin: bool = False) -> User:
        """Adds a user, who belongs to no workspace yet. `AlreadyExists`, `InvalidInput`."""
        return self._transport.call(operations.CREATE, CreateUser(name=name, password=SecretText(password), admin=admin))

    def get_user(self, name_or_id: str) -> User:
        """The user of this exact name or id. `NotFound`."""
        return self._transport.call(operations.GET, GetUser(name=name_or_id))

    def list_users(self, *, name: str | None = None, page: int = 1, size: int = DEFAULT_PAGE_SIZE) -> Page[User]:
        """A page of users, by name; `name` is a filter as for secrets."""
        return self._transport.call(operations.LIST, ListUsers(name=name, page=page, size=size))

    def update_user(self, name_or_id: str, *, password: str | None = None, admin: bool | None = None) -> User:
        """Another password, or another say over the server; the user's logins end. `NotFound`, `InvalidInput`."""
        request = UpdateUser(
            id=self.get_user(name_or_id).id,
            password=UNSET if password is None else SecretText(password),
            admin=UNSET if admin is None else admin,
        )
        return self._transport.call(operations.UPDATE, request)

    def deactivate_user(self, name_or_id: str) -> None:
        """Ends all that a user can do; what belongs to the user stays. `NotFound`, `InvalidInput` for the last administrator."""
        self._transport.call(operations.DEACTIVATE, DeactivateUser(id=self.get_user(name_or_id).id))
