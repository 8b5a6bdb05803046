"""Users of a deployment, and how they prove who they are."""

from __future__ import annotations

import re
from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from strongroom.credential_text import strip_credential
from strongroom.errors import InvalidInput
from strongroom.models.page import DEFAULT_PAGE_SIZE
from strongroom.redaction import SecretText

MIN_PASSWORD = 8
MAX_PASSWORD = 1_024
_NAME = re.compile(r"[A-Za-z0-9_.@+-]{1,255}")


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person. `admin` administers the server; `active` ones can log in."""

    id: str
    name: str
    admin: bool
    active: bool
    created: datetime


class CreateUser(msgspec.Struct, frozen=True, kw_only=True):
    """Adds a user, who can log in with the password."""

    name: str
    password: SecretText
    admin: bool = False


class ListUsers(msgspec.Struct, frozen=True, kw_only=True):
    """A page of users, by name; `name` is a filter as for secrets."""

    name: str | None = None
    page: int = 1
    size: int = DEFAULT_PAGE_SIZE


class GetUser(msgspec.Struct, frozen=True, kw_only=True):
    """Reads a user by exact name or id."""

    name: str


class UpdateUser(msgspec.Struct, frozen=True, kw_only=True):
    """Gives a user another password, or takes or gives the administration. All tokens of the user end."""

    id: str
    password: SecretText | UnsetType = UNSET
    admin: bool | UnsetType = UNSET


class DeactivateUser(msgspec.Struct, frozen=True, kw_only=True):
    """Ends all that a user can do; what belongs to the user stays."""

    id: str


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Trades a user name and a password for a token."""

    username: str
    password: SecretText


class SetUp(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the first administrator, with the token that a new server prints when it starts."""

    token: SecretText
    username: str
    password: SecretText


class AccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """A fresh token, shown this once. `expires_in` is in seconds."""

    access_token: SecretText
    token_type: str
    expires_in: int


class Logout(msgspec.Struct, frozen=True, kw_only=True):
    """Ends the token that this request comes with."""


class WhoAmI(msgspec.Struct, frozen=True, kw_only=True):
    """Asks who is asking."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking: a user or a service account, in which workspace, with which role there."""

    id: str
    name: str
    admin: bool
    workspace: str
    role: str


class ChangePassword(msgspec.Struct, frozen=True, kw_only=True):
    """Gives oneself another password; one's other tokens end."""

    current: SecretText
    new: SecretText


def check_user_name(name: str) -> str:
    """The name itself if a user or service account may bear it, else `InvalidInput`."""
    if not _NAME.fullmatch(name):
        raise InvalidInput("the name of a user has 1 to 255 characters: letters, digits, '_', '.', '@', '+' and '-'")
    return name


def check_password(password: SecretText) -> str:
    """The password itself if it may be used, else `InvalidInput`."""
    text = password.reveal()
    if not MIN_PASSWORD <= len(text) <= MAX_PASSWORD:
        raise InvalidInput(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = ""
    if not text:
        raise InvalidInput("a password is valid Unicode text")
    if text != strip_credential(text):  # pipes and settings lose them
        raise InvalidInput("a password does not begin or end with a blank or a line end")
    return text
