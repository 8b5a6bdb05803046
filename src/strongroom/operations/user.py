"""The operations on users, and those by which people prove who they are."""

from __future__ import annotations

from strongroom.models.page import Page
from strongroom.models.user import (
    AccessToken,
    ChangePassword,
    CreateUser,
    DeactivateUser,
    GetUser,
    Identity,
    ListUsers,
    Login,
    Logout,
    SetUp,
    UpdateUser,
    User,
    WhoAmI,
)
from strongroom.operations.operation import Audited, Operation, Repeat
from strongroom.operations.permission import Permission

CHANGE_PASSWORD = Operation(
    "user.change-password", "POST", "/password", Permission.SELF, ChangePassword, type(None), audited=Audited(about_actor=True)
)
CREATE = Operation(
    "user.create",
    "POST",
    "/users",
    Permission.USER_MANAGE,
    CreateUser,
    User,
    "/users/{name}",
    audited=Audited(target="name", shown=("admin",)),
)
DEACTIVATE = Operation("user.deactivate", "POST", "/users/{id}/deactivate", Permission.USER_MANAGE, DeactivateUser, type(None))
GET = Operation("user.get", "GET", "/users/{name}", Permission.USER_MANAGE, GetUser, User)
LIST = Operation("user.list", "GET", "/users", Permission.USER_MANAGE, ListUsers, Page[User])
LOGIN = Operation("user.login", "POST", "/login", None, Login, AccessToken, repeat=Repeat.NEVER, audited=Audited(target="username"))
LOGOUT = Operation("user.logout", "POST", "/logout", Permission.SELF, Logout, type(None), audited=Audited(about_actor=True))
SET_UP = Operation("user.set-up", "POST", "/setup", None, SetUp, AccessToken, repeat=Repeat.NEVER, audited=Audited(target="username"))
UPDATE = Operation("user.update", "PATCH", "/users/{id}", Permission.USER_MANAGE, UpdateUser, User, audited=Audited(shown=("admin",)))
WHO_AM_I = Operation("user.who-am-i", "GET", "/me", Permission.SELF, WhoAmI, Identity, for_runs=True)

USER_OPERATIONS = (CHANGE_PASSWORD, CREATE, DEACTIVATE, GET, LIST, LOGIN, LOGOUT, SET_UP, UPDATE, WHO_AM_I)
